from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from kosmos.config import CorpusConfig, DataConfig, SourceConfig
from kosmos.data.health import TooManyBadRecords
from kosmos.data.loader import MakesRows, Workers, open_stream
from kosmos.data.rows import SourceRows
from kosmos.data.stream import Stream, merge_states
from kosmos.errors import DataError
from tests.data.memory import contents
from tests.data.words import WordProcessor


@pytest.fixture
def layout(tmp_path: Path) -> dict[str, SourceConfig]:
    """Text of 60 records, and instructions of 40 of which some are bad, in files."""
    text = [{"text": " ".join(f"w{n}" for n in range(k % 9 + 1))} for k in range(60)]
    asked = [{"instruction": f"w{k}", "output": "w1"} if k % 11 else {"instruction": "w1"} for k in range(1, 41)]
    for name, lines in (("text", text), ("asked", asked)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = {"text": CorpusConfig("jsonl", str(tmp_path / "text.jsonl"))}
    asks = CorpusConfig("instructions", str(tmp_path / "asked.jsonl"))
    return {
        "text": SourceConfig(5, 2, 16, (made["text"],), leading_start=False),
        "asked": SourceConfig(3, 3, 20, (asks,), document_mask=True),
    }


def opened(layout: dict[str, SourceConfig], workers: int, max_bad: float = 0.5, **where: Any) -> Stream:
    config = DataConfig(sources=layout, workers=workers, max_bad_fraction=max_bad, shuffle_window=16)
    return open_stream(config, WordProcessor(), 1, **where)


def test_workers_make_the_same_steps_and_a_resume_may_have_others(layout: dict[str, SourceConfig]) -> None:
    expected = list(islice(opened(layout, 0), 9))
    state = None
    for workers, steps in ((2, slice(0, 4)), (1, slice(4, 6)), (3, slice(6, 9))):
        stream = opened(layout, workers, state=state)
        try:
            for step, wanted in zip(stream, expected[steps], strict=False):
                assert contents(step) == contents(wanted)
                assert (step.number, step.state, step.counts, step.bad) == (
                    wanted.number, wanted.state, wanted.counts, wanted.bad
                )  # fmt: skip
                state = step.state
        finally:
            stream.close()
    named = [record.why for step in expected for _, record in step.bad]
    assert expected[8].counts["asked"].bad_records == {"no instruction or output field": len(named)}
    assert len(named) > 3 and len(named) / expected[8].counts["asked"].records == pytest.approx(3 / 40, abs=0.02)


def test_workers_of_a_rank_make_only_its_rows(layout: dict[str, SourceConfig]) -> None:
    whole = next(opened(layout, 0))
    stream = opened(layout, 2, rank=1, world_size=3)
    try:
        step = next(stream)
    finally:
        stream.close()
    assert [batch.number for batch in step.batches] == [1]
    assert contents(step) == contents(whole)[1:2]
    assert step.counts["text"].rows == 2 and step.counts["asked"].rows == 0


def test_a_workers_death_is_an_error_at_once_and_ctrl_c_is_not(layout: dict[str, SourceConfig]) -> None:
    stream = opened(layout, 2)
    workers = stream._rows
    assert isinstance(workers, Workers) and len(workers.pids) == 2
    try:
        next(stream)
        os.kill(workers.pids[1], signal.SIGINT)  # Ctrl-C reaches the whole group; the workers leave it to the trainer
        assert next(stream).number == 2
        os.kill(workers.pids[1], signal.SIGKILL)
        begin = time.monotonic()
        with pytest.raises(DataError, match=r"a data process died \(exit code -9\)"):
            for _ in range(10_000):  # what already stood in the pipe may still come, however much that was
                next(stream)
        assert time.monotonic() - begin < 5
    finally:
        stream.close()


_WITHOUT_GUARD = """
from kosmos.data.loader import Workers

class Rows:
    data = None

    def __init__(self):
        self.data = bytes(1 << 20)  # more than a pipe holds

Workers([Rows(), Rows()])  # started anew in each process, where that is an error
"""


def test_a_worker_that_dies_in_its_start_is_not_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_WITHOUT_GUARD)
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "DataError: a data process died (exit code 1)" in ended.stderr


def test_a_rank_beyond_the_last_micro_batch_has_a_state_like_the_others(layout: dict[str, SourceConfig]) -> None:
    steps = []
    for rank in range(5):  # four micro-batches
        stream = opened(layout, 0 if rank < 4 else 2, rank=rank, world_size=5)
        steps.append(next(stream))
        stream.close()
    assert [len(step.batches) for step in steps] == [1, 1, 1, 1, 0]
    assert merge_states([step.state for step in steps]) == next(opened(layout, 0)).state


class Failing:
    """Rows that fail in a way nobody foresaw."""

    def __call__(self) -> Failing:
        return self

    def __iter__(self) -> Failing:
        return self

    def __next__(self) -> dict[str, SourceRows]:
        return {"s": SourceRows(1 / 0)}  # type: ignore[arg-type]


def test_errors_of_the_workers_arrive(layout: dict[str, SourceConfig], tmp_path: Path) -> None:
    parts: list[MakesRows] = [Failing()]
    failing = Workers(parts)
    with pytest.raises(RuntimeError, match="the data process failed: ZeroDivisionError: division by zero"):
        next(failing)
    (tmp_path / "asked.jsonl").write_text("{}\n" * 30)
    stream = opened(layout, 1)
    with pytest.raises(TooManyBadRecords, match="source 'asked': 200 records are bad one after another") as caught:
        next(stream)
    assert len(caught.value.found) == 200 and caught.value.source == "asked"
