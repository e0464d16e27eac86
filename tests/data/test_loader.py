from __future__ import annotations

import os
import signal
import time
from itertools import islice

import pytest

from kosmos.batch import Batch
from kosmos.data.health import TooManyBadRecords
from kosmos.data.loader import WorkerStream
from kosmos.data.readers import BadRecord
from kosmos.data.stream import Step, StepStream
from kosmos.document import Document, Image, Text
from kosmos.errors import DataError
from tests.data.memory import contents, corpus, source, stream


class Pictures:
    """Makes the same stream of pairs here or in another process."""

    def __init__(self, bad: bool = False) -> None:
        self.bad = bad

    def __call__(self) -> StepStream:
        pairs: list[Document | BadRecord] = [Document(Image(bytes([n])), Text(f"w{n}")) for n in range(7)]
        if self.bad:
            pairs = [BadRecord("record 0", "bad json")]
        return stream(p=source(corpus("p", pairs), length=20, document_mask=True), max_bad=0.5)


class Failing:
    """A stream that fails in a way nobody foresaw."""

    def __call__(self) -> StepStream:
        return self

    def __iter__(self) -> Failing:
        return self

    def __next__(self) -> Step:
        return Step(1, [Batch(1 / 0, None)], {}, {})  # type: ignore[arg-type]

    def close(self) -> None:
        return None


def test_a_worker_makes_the_same_steps_and_its_death_is_an_error_at_once() -> None:
    worker = WorkerStream(Pictures())
    try:
        for expected, step in zip(islice(Pictures()(), 12), worker, strict=False):
            assert contents(step) == contents(expected)
            assert (step.number, step.state, step.counts) == (expected.number, expected.state, expected.counts)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)  # Ctrl-C reaches the whole group; the worker leaves it to the trainer
        assert next(worker).number == 13
        os.kill(worker.pid, signal.SIGKILL)
        begin = time.monotonic()
        with pytest.raises(DataError, match=r"the data process died \(exit code -9\)"):
            for _ in range(10_000):  # what already stood in the pipe may still come, however much that was
                next(worker)
        assert time.monotonic() - begin < 5
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        (Pictures(bad=True), TooManyBadRecords, "11 of 11 records are bad"),
        (Failing(), RuntimeError, "the data process failed: ZeroDivisionError: division by zero"),
    ],
)
def test_errors_of_the_worker_arrive(factory: Pictures | Failing, error: type[Exception], message: str) -> None:
    worker = WorkerStream(factory)
    with pytest.raises(error, match=message) as caught:
        next(worker)
    if isinstance(caught.value, TooManyBadRecords):
        assert [record.where for record in caught.value.found] == ["record 0"] * 11
    worker.close()
