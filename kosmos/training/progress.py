"""Progress: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import Any, Protocol


class Progress(Protocol):
    """Shows a run's progress; used as a context manager."""

    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self, record: dict[str, Any]) -> None: ...

    def say(self, message: str) -> None: ...


def open_progress(total_steps: int, done: int, log_every: int, quiet: bool) -> Progress:
    """The form that fits standard error."""
    if quiet:
        return Silent()
    if sys.stderr.isatty():
        return Bar(total_steps, done)
    return Lines(total_steps, done, log_every)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def step(self, record: dict[str, Any]) -> None:
        return None

    def say(self, message: str) -> None:
        return None


class Lines(Silent):
    """A line every `log_every` steps."""

    def __init__(self, total_steps: int, done: int, log_every: int) -> None:
        self._total = total_steps
        self._done = done
        self._every = max(1, log_every)
        self._begin = time.monotonic()

    def __enter__(self) -> Lines:
        return self

    def step(self, record: dict[str, Any]) -> None:
        step = record["step"]
        if step % self._every and step != self._total:
            return
        pace = (time.monotonic() - self._begin) / max(1, step - self._done)
        self.say(f"step {step}/{self._total}  {summary(record)}  {clock((self._total - step) * pace)} left")

    def say(self, message: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody reads on; what is being made is wanted all the same
            print(message, file=sys.stderr, flush=True)


class Bar(Silent):
    """A bar on a terminal."""

    def __init__(self, total_steps: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        # The smoothed pace of many steps: a save or a slow batch does not make the estimate jump.
        self._bar = RichProgress(*columns, console=Console(stderr=True), speed_estimate_period=60)
        self._task = self._bar.add_task("", total=total_steps, completed=done)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, record: dict[str, Any]) -> None:
        self._bar.update(self._task, completed=record["step"], description=summary(record))

    def say(self, message: str) -> None:
        self._bar.console.print(message, markup=False, highlight=False)


def summary(record: dict[str, Any]) -> str:
    """Loss, learning rate and speed of a step's record."""
    per_source = " ".join(f"{name} {s['loss']:.3f}" for name, s in record["sources"].items() if s["loss"] is not None)
    timing = record["timing"]
    if record["loss"] is None:
        return "left out: its loss or gradient is not finite"
    # Vision pretraining reads no tokens.
    unit = "tokens" if "tokens_per_second" in timing else "images"
    parts = [f"loss {record['loss']:.4f} ({per_source})", f"lr {record['lr']:.2e}"]
    parts.append(f"{timing[f'{unit}_per_second']:,.0f} {unit}/s")
    if "mfu" in timing:
        parts.append(f"MFU {100 * timing['mfu']:.0f} %")
    if timing.get("data_wait_percent", 0.0) >= 1:
        parts.append(f"data wait {timing['data_wait_percent']:.0f} %")
    if bad := sum(sum(source.get("bad_records", {}).values()) for source in record["sources"].values()):
        parts.append(f"{bad:,} bad")
    held_out = [f"{name} {found['loss']:.3f}" for name, found in record.get("validation", {}).items() if found["loss"]]
    return "  ".join(parts + ([f"validation {' '.join(held_out)}"] if held_out else []))


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    whole = round(max(0.0, seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
