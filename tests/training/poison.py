"""Makes the data of some steps bad for the model: the loss of their second micro-batch is infinite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kosmos.batch import Batch
from kosmos.data.stream import Step, Stream
from kosmos.training.step import TrainingModule


def poison(data_steps: set[int], put: Callable[[Any, str, Any], None] = setattr) -> None:
    """`put` sets an attribute; a test's monkeypatch takes it back."""
    make, forward = Stream.__next__, TrainingModule.forward
    made: list[int] = []

    def remember(self: Stream) -> Step:
        step = make(self)
        made.append(step.number)
        return step

    def spoil(self: TrainingModule, batch: Batch) -> Any:
        loss, count = forward(self, batch)
        bad = made[-1] in data_steps and batch.source and batch.number == 1
        return (loss * float("inf") if bad else loss), count

    put(Stream, "__next__", remember)
    put(TrainingModule, "forward", spoil)
