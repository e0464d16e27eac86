"""Progress of an evaluation: a live bar on a terminal, one plain line per finished task otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class EvaluationProgress:
    """Shows work done out of `total` (any unit) and when it will end. Writes to standard error."""

    def __init__(self, total: int, num_tasks: int, title: str, quiet: bool = False) -> None:
        self._total = max(1, total)
        self._num_tasks = num_tasks
        self._title = title
        self._quiet = quiet
        self._done = 0
        self._finished = 0
        self._start = time.monotonic()
        self._bar: Progress | None = None
        if not quiet and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._row = self._bar.add_task(title, total=self._total)

    def __enter__(self) -> EvaluationProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, name: str) -> None:
        """A task starts."""
        if self._bar is not None:
            self._bar.update(self._row, description=f"{self._title}: {name}")

    def advance(self, amount: int) -> None:
        """Some work is done."""
        self._done += amount
        if self._bar is not None:
            self._bar.advance(self._row, amount)

    def end(self, line: str) -> None:
        """A task has ended; `line` tells its result."""
        self._finished += 1
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(f"  {line}", highlight=False, markup=False)
        else:
            message = f"{self._title} {self._finished}/{self._num_tasks}  {line}  {self._left()}"
            print(message.rstrip(), file=sys.stderr, flush=True)

    def _left(self) -> str:
        if not 0 < self._done < self._total:
            return ""
        seconds = (time.monotonic() - self._start) * (self._total - self._done) / self._done
        return f"({seconds / 60:.0f} min left)" if seconds >= 90 else f"({seconds:.0f} s left)"
