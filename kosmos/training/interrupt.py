"""Ctrl-C and SIGTERM: the first asks the loop to save and stop after its step, a further Ctrl-C stops at once.

A further SIGTERM changes nothing: launchers send it to the whole group and forward it as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While entered, `requested` becomes true at the first signal. Off the main thread it does nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._before: dict[signal.Signals, Any] = {}
        self.requested = False

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.requested = True
        if not self._quiet:
            # A plain write: the signal may have come in the middle of a print.
            with contextlib.suppress(OSError):
                os.write(2, b"\nstopping after this step and a save; Ctrl-C again stops at once\n")
