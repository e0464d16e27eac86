"""One run directory, one run: a second process that would train into it is refused while the first lives."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from kosmos.errors import UsageError

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs must be kept apart by hand
    fcntl = None  # type: ignore[assignment]


class RunLock:
    """Holds a run directory from `take` to the end of the `with` block, or of the process however it ends."""

    def __init__(self) -> None:
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def take(self, run: Path) -> None:
        """Lock the folder `run`, which must exist; again is no harm. Raises UsageError when another process has it."""
        if self._handle is not None or fcntl is None:
            return
        # The folder itself is locked: no file of a dead run can be in the way.
        handle = os.open(run, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise UsageError(f"{run}: another process trains here; stop it first, or choose another folder") from error
        except OSError:
            # A file system without such locks (some network ones): then there is no guard.
            os.close(handle)
            return
        self._handle = handle
