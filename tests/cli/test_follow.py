"""`kosmos evaluate RUN --follow`: checkpoints are measured as they come."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kosmos.evaluation.picturebook.follow import follow_run
from kosmos.evaluation.picturebook.tasks import picturebook_tasks
from tests.cli.process import Command, one_line, snapshot


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run (steps 75 and 100), and a cache of its own."""
    monkeypatch.setenv("KOSMOS_CACHE", str(tmp_path / "cache"))
    shutil.copytree(tiny_run, tmp_path / "run")
    return tmp_path / "run"


def number_task() -> list[Any]:
    return [task for task in picturebook_tasks(32) if task.name == "number"]


def test_each_checkpoint_as_it_comes_until_the_last(run: Path, tmp_path: Path) -> None:
    (run / "checkpoints" / "step-100").rename(tmp_path / "later")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("step-75"):
            # As a save is committed, and an older step removed.
            (tmp_path / "later").rename(run / "checkpoints" / "step-100")
            shutil.rmtree(run / "checkpoints" / "step-75")

    before = snapshot(run / "checkpoints" / "step-75")
    assert before
    found = follow_run(run, number_task(), limit=20, poll=0.01, say=say)
    assert [line.split("%")[0].split()[:2] for line in said] == [["step-75:", "number"], ["step-100:", "number"]]
    assert [line["step"] for line in found] == [75, 100]
    out = run / "evaluations"
    assert [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()] == found
    for line in found:
        samples = (out / f"step-{line['step']}" / "number.jsonl").read_text().splitlines()
        values = [json.loads(sample)["value"] for sample in samples]
        assert line["scores"]["number"]["score"] == pytest.approx(sum(values) / 20)
        assert line["scores"]["number"]["n"] == len(values) == 20
        low, high = line["scores"]["number"]["interval"]
        assert low <= line["scores"]["number"]["score"] <= high
    assert found[0]["weights_sha256"] != found[1]["weights_sha256"]

    said.clear()
    assert follow_run(run, number_task(), limit=20, poll=0.01, say=said.append) == found
    assert said == []  # nothing is done again


def test_what_is_damaged_or_gone_is_passed_over(run: Path) -> None:
    weights = run / "checkpoints" / "step-75" / "weights" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    said: list[str] = []
    found = follow_run(run, number_task(), limit=5, poll=0.01, say=said.append)
    assert [line["step"] for line in found] == [100]
    assert said[0].startswith("step-75: passed over:") and "damaged" in said[0]


def test_patience_ends_it(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "step-100")
    found = follow_run(run, number_task(), limit=5, poll=0.01, patience=0.0)
    assert [line["step"] for line in found] == [75]


def test_the_command(kosmos_here: Command, run: Path) -> None:
    words = ["evaluate", "run", "--follow", "--tasks", "number", "--limit", "5"]
    finished = kosmos_here(*words, cwd=run.parent)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert [line.split(":")[0] for line in finished.stdout.splitlines()] == ["step-75", "step-100"]
    assert not (run / "report.json").exists()
    assert kosmos_here(*words, "--quiet", cwd=run.parent).stdout == ""
    bad = kosmos_here("evaluate", "run", "--follow", "--patience", "-1", cwd=run.parent)
    assert (bad.returncode, "must be 0 (what there is now) or more" in one_line(bad)) == (2, True)
