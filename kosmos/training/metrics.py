"""metrics.jsonl: one line a step. Everything but `timing` is the same in every run of the same recipe."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from kosmos.data.stream import Step
from kosmos.errors import StorageError
from kosmos.storage import write_atomic
from kosmos.training.step import StepResult


def step_record(number: int, result: StepResult | None, step: Step, timing: dict[str, Any]) -> dict[str, Any]:
    """The line of step `number`; without a result the step was left out. `timing` is a `Meter`'s."""
    losses = result.source_loss if result is not None else {}
    sources = {name: {"loss": losses.get(name), **asdict(counts)} for name, counts in step.counts.items()}
    return {
        "step": number,
        # After going back over steps that failed, the data is ahead of the step.
        **({"data_step": step.number} if step.number != number else {}),
        "lr": result.lr if result is not None else None,
        "loss": result.loss if result is not None else None,
        "grad_norm": result.grad_norm if result is not None else None,
        "sources": sources,
        "timing": timing,
    }


class LineLog:
    """A file of JSON lines that carry a `step`; a resumed run cuts it back to its checkpoint's step (None: never)."""

    def __init__(self, path: Path, last_step: int | None) -> None:
        self._path = path
        try:
            if path.is_file():
                _truncate(path, last_step)
            # Unbuffered: what a full disk refused must not come back, as another error, when the file is closed.
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  closed by __exit__
        except OSError as error:
            raise StorageError(f"{path}: cannot write: {error.strerror or error}") from error

    def __enter__(self) -> LineLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, record: dict[str, Any]) -> None:
        """Append one line and hand it to the system; a resumed run drops one that is cut short.

        Raises StorageError when the disk refuses.
        """
        data = json.dumps(record).encode() + b"\n"
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise StorageError(f"{self._path}: cannot write: {error.strerror or error}; free some space") from error

    def sync(self) -> None:
        """Make sure that what was written survives a crash of the machine."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"{self._path}: cannot write: {error.strerror or error}; free some space") from error


def _truncate(path: Path, last_step: int | None) -> None:
    """Keep the lines of steps up to `last_step`, or all; a line that a crash cut short goes too."""
    kept: list[bytes] = []
    lines = path.read_bytes().splitlines(keepends=True)
    for line in lines:
        try:
            step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            continue
        if line.endswith(b"\n") and (last_step is None or step <= last_step):
            kept.append(line)
    if len(kept) < len(lines):
        write_atomic(path, b"".join(kept))
