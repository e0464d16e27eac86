"""Progress over the lines of a file: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from kosmos.training.progress import clock

if TYPE_CHECKING:
    from rich.progress import Progress

# Seconds between two plain lines.
_EVERY = 10.0


class LineProgress:
    """Lines done out of `total` and the time left at the pace so far. Writes to standard error.

    `done` lines were there before: they count as done and not for the pace.
    """

    def __init__(self, total: int, done: int = 0, quiet: bool = False) -> None:
        self._total = total
        self._before = self._done = done
        self._quiet = quiet
        self._begin = self._said = time.monotonic()
        self._bar: Progress | None = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("", total=total, completed=done)

    def __enter__(self) -> LineProgress:
        self._begin = self._said = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Since it was entered."""
        return time.monotonic() - self._begin

    def advance(self, count: int) -> None:
        """So many more lines are done."""
        self._done += count
        left = f"about {clock(self._left())} left" if self._done < self._total else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=left)
        elif left and time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            self.say(f"{self._done:,} of {self._total:,} lines  {left}")

    def say(self, message: str) -> None:
        """A line of its own, above the bar."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        else:
            with contextlib.suppress(BrokenPipeError):  # nobody reads on; the answers are wanted all the same
                print(message, file=sys.stderr, flush=True)

    def _left(self) -> float:
        return self.seconds * (self._total - self._done) / max(1, self._done - self._before)
