from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kosmos.data.stream import SourceCounts, Step
from kosmos.errors import StorageError
from kosmos.training.metrics import LineLog, step_record
from kosmos.training.progress import Lines, clock, open_progress, summary
from kosmos.training.step import StepResult


def record() -> dict[str, object]:
    counts = {"text": SourceCounts(2, 30, 28, 0, 2), "pairs": SourceCounts(1, 10, 4, 1, 6, 0, {"bad json": 1})}
    result = StepResult(loss=2.5, grad_norm=0.5, lr=1e-3, source_loss={"text": 2.0, "pairs": 6.0})
    timing = {"seconds": 2.0, "tokens_per_second": 20.0, "mfu": 0.412, "data_wait_percent": 25.0}
    return step_record(7, result, Step(7, [], counts, {}), timing)


def test_the_line_of_a_step() -> None:
    assert record() == {
        "step": 7,
        "lr": 1e-3,
        "loss": 2.5,
        "grad_norm": 0.5,
        "sources": {
            "text": {
                "loss": 2.0,
                "rows": 2,
                "tokens": 30,
                "supervised_tokens": 28,
                "images": 0,
                "padding": 2,
                "records": 0,
                "bad_records": {},
                "events": {},
            },
            "pairs": {
                "loss": 6.0,
                "rows": 1,
                "tokens": 10,
                "supervised_tokens": 4,
                "images": 1,
                "padding": 6,
                "records": 0,
                "bad_records": {"bad json": 1},
                "events": {},
            },
        },
        "timing": {"seconds": 2.0, "tokens_per_second": 20.0, "mfu": 0.412, "data_wait_percent": 25.0},
    }


def test_a_log_is_cut_back_to_the_step_it_goes_on_from(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": n}) + "\n" for n in (1, 2, 3)) + '{"step": 4, "lo')
    with LineLog(path, last_step=2) as log:
        log.write({"step": 3, "again": True})
        log.sync()
    assert path.read_text().splitlines() == ['{"step": 1}', '{"step": 2}', '{"step": 3, "again": true}']


def test_a_line_without_its_end_is_dropped_even_at_an_old_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}')
    with LineLog(path, last_step=5) as log:
        log.write({"step": 3})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_log_that_is_never_cut_back_loses_only_what_has_no_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"step": 9}\n{"step": 4}\n{"step": 5, "ev')
    with LineLog(path, last_step=None) as log:
        log.write({"step": 6})
    assert path.read_text() == '{"step": 9}\n{"step": 4}\n{"step": 6}\n'


def test_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot write: No space left on device"):
        with LineLog(tmp_path / "metrics.jsonl", last_step=0) as log:
            log._file.close()
            log._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115  closed by the log
            log.write({"step": 1})


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(total_steps=10, done=0, log_every=7) as progress:
        progress.step(record() | {"step": 6})
        progress.step(record())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    figures = "loss 2.5000 (text 2.000 pairs 6.000)  lr 1.00e-03  20 tokens/s  MFU 41 %  data wait 25 %  1 bad"
    assert lines[0].startswith(f"step 7/10  {figures}  0:00 left")


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress(10, 0, 1, quiet=True) as progress:
        progress.step(record())
        progress.say("x")
    assert capsys.readouterr() == ("", "")


def test_times_are_written_for_people() -> None:
    assert [clock(s) for s in (0, 65.4, 3723, -1)] == ["0:00", "1:05", "1:02:03", "0:00"]
    quiet = {"timing": {"tokens_per_second": 20.0, "data_wait_percent": 0.4}, "sources": {}}
    assert summary(record() | quiet).endswith("20 tokens/s")
    held_out = {"validation": {"text": {"loss": 2.25}, "pairs": {"loss": None}}}
    assert summary(record() | quiet | held_out).endswith("20 tokens/s  validation text 2.250")
    # Vision pretraining reads no tokens.
    assert summary(record() | quiet | {"timing": {"images_per_second": 1234.5}}).endswith("1,234 images/s")
