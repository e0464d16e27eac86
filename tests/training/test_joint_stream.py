"""The data of several ranks as one: agreed on, added up, and what goes wrong on one goes wrong on all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch

from kosmos.data.health import TOLERATED, TooManyBadRecords
from kosmos.data.readers import BadRecord
from kosmos.data.stream import SourceCounts, Step, Stream
from kosmos.errors import DataError, KosmosError
from kosmos.training.joint_stream import JointStream
from kosmos.training.world import World


class Ranks(World):
    """A rank that meets the others of its process, each in a thread of its own."""

    def gather(self, value: Any) -> list[Any]:
        _values[self.rank] = value
        _meeting.wait(timeout=10)
        found = [_values[rank] for rank in range(self.size)]
        _meeting.wait(timeout=10)
        return found


_values: dict[int, Any] = {}
_meeting = threading.Barrier(2)


class Made:
    """A stream that gives what it is told to, an error too."""

    def __init__(self, *steps: Step | KosmosError) -> None:
        self._steps = iter(steps)
        self.closed = 0

    def __iter__(self) -> Iterator[Step]:
        raise NotImplementedError

    def __next__(self) -> Step:
        step = next(self._steps)
        if isinstance(step, KosmosError):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1


def step(number: int, records: int = 10, bad: int = 0) -> Step:
    found = [("text", BadRecord(f"place {n}", "bad json", "")) for n in range(bad)]
    counts = SourceCounts(rows=2, tokens=60, records=records, bad_records={"bad json": bad} if bad else {})
    return Step(number, [], {"text": counts}, {}, found)


def together(*streams: Made, act: Callable[[JointStream, int], Any], max_bad_fraction: float = 0.1) -> list[Any]:
    """What `act` gives on each rank, or the error that ended it there."""
    results: list[Any] = [None] * len(streams)

    def run(rank: int) -> None:
        try:
            world = Ranks(rank, len(streams), torch.device("cpu"))
            results[rank] = act(JointStream(cast(Stream, streams[rank]), world, max_bad_fraction), rank)
        except KosmosError as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_counts_and_bad_records_are_those_of_all() -> None:
    first, second = together(
        Made(step(1, records=30, bad=1)), Made(step(1, records=12, bad=2)), act=lambda joint, rank: joint.next(False)
    )
    for made, stopping in (first, second):
        assert not stopping
        assert made.counts["text"] == SourceCounts(rows=4, tokens=120, records=42, bad_records={"bad json": 3})
        assert [bad.where for _, bad in made.bad] == ["place 0", "place 0", "place 1"]


def test_when_one_wants_to_stop_all_know() -> None:
    steps = together(
        Made(step(1), step(2)),
        Made(step(1), step(2)),
        act=lambda joint, rank: [joint.next(stop=False)[1], joint.next(stop=rank == 1)[1]],
    )
    assert steps == [[False, True], [False, True]]


def test_what_is_wrong_from_the_beginning_is_known_at_once_on_all() -> None:
    streams = Made(step(1)), Made(DataError("no.jsonl: no such file"))
    found = together(*streams, act=lambda joint, rank: pytest.fail("a stream was opened"))
    assert [str(error) for error in found] == ["no.jsonl: no such file"] * 2
    assert [stream.closed for stream in streams] == [1, 1]


def test_an_error_of_one_is_raised_on_all_and_two_keep_their_own() -> None:
    def two_steps(joint: JointStream, rank: int) -> Any:
        joint.next(False)
        return joint.next(False)

    found = together(Made(step(1), DataError("pairs.tar: cut short")), Made(step(1), step(2)), act=two_steps)
    assert [str(error) for error in found] == ["pairs.tar: cut short"] * 2
    found = together(Made(step(1), DataError("a")), Made(step(1), DataError("b")), act=two_steps)
    assert [str(error) for error in found] == ["a", "b"]


def test_too_many_bad_records_wait_for_the_log() -> None:
    lost = TooManyBadRecords("200 bad one after another", "text", (BadRecord("place", "bad json", ""),))
    opened: list[int] = []

    def open_first(joint: JointStream, rank: int) -> Any:
        opened.append(rank)
        return joint.next(False)

    found = together(Made(step(1)), Made(lost), act=open_first)
    assert sorted(opened) == [0, 1]
    assert [(type(error), error.source, len(error.found)) for error in found] == [(TooManyBadRecords, "text", 1)] * 2


def test_the_rate_is_judged_over_all_ranks() -> None:
    some = TOLERATED // 2 + 1
    found = together(
        Made(step(1, records=40, bad=some)),
        Made(step(1, records=40, bad=some)),
        act=lambda joint, rank: joint.next(False),
    )
    for error in found:
        assert isinstance(error, TooManyBadRecords)
        assert f"{2 * some} of 80 records are bad" in str(error)
        assert len(error.found) == 2 * some
    allowed = together(
        Made(step(1, records=40, bad=some)), Made(step(1, records=1000)), act=lambda joint, rank: joint.next(False)
    )
    assert all(stopping is False for _, stopping in allowed)
