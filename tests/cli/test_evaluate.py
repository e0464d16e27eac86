"""`kosmos evaluate` and `kosmos report` on a small run; the tasks used here need no fetched pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.process import Command, one_line


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, and a cache of its own."""
    monkeypatch.setenv("KOSMOS_CACHE", str(tmp_path / "cache"))
    shutil.copytree(tiny_run, tmp_path / "run")
    return tmp_path / "run"


def test_the_report_is_written_and_printed_again(kosmos_here: Command, run: Path) -> None:
    finished = kosmos_here("evaluate", "run", "--tasks", "number", "--limit", "25", "--quiet", cwd=run.parent)
    assert (finished.returncode, finished.stderr) == (0, "")
    # A part never takes the place of the full report.
    assert not (run / "report.json").exists()
    part = run / "evaluation-partial"
    report = json.loads((part / "report.json").read_text())
    (row,) = report["abilities"]
    assert (row["name"], row["n"]) == ("number", 25)
    assert row["interval"][0] <= row["score"] <= row["interval"][1]
    assert report["run"]["steps"] == 100
    assert report["run"]["parameters"]["total"] == sum(
        report["run"]["parameters"][p] for p in ("text", "vision", "resampler")
    )
    assert (part / "report.md").read_text().startswith("# ")

    again = kosmos_here("report", "run/evaluation-partial", cwd=run.parent)
    assert (again.returncode, again.stdout) == (0, finished.stdout)
    as_json = kosmos_here("report", "run/evaluation-partial", "--json", cwd=run.parent)
    assert json.loads(as_json.stdout) == report

    before = (part / "report.json").read_bytes()
    assert (
        kosmos_here("evaluate", "run", "--tasks", "number", "--limit", "25", "--quiet", cwd=run.parent).returncode == 0
    )
    assert (part / "report.json").read_bytes() == before

    words = ["evaluate", "run", "--tasks", "number", "--limit", "25", "--quiet"]
    assert kosmos_here(*words, "--out", "mine", cwd=run.parent).returncode == 0
    assert (run.parent / "mine" / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 2, "nothing: not a run directory"),
        (["run", "--tasks", "numbr"], 2, "no task 'numbr' (did you mean 'number'?)"),
        (["run", "--tasks", "number", "--out", "run"], 2, "run: a run directory, whose report stays as it is"),
        (
            ["run/checkpoints/step-75"],
            2,
            "run/checkpoints/step-75: the report on one step of a run needs a folder of its",
        ),
        (["run/checkpoints/step-100/weights"], 2, "run/checkpoints/step-100/weights: a model without its run"),
        (["run", "--limit", "0"], 2, "argument --limit: 0: must be at least 1"),
    ],
)
def test_bad_calls(kosmos_here: Command, run: Path, arguments: list[str], code: int, message: str) -> None:
    finished = kosmos_here("evaluate", *arguments, cwd=run.parent)
    assert one_line(finished).startswith(message)
    assert finished.returncode == code
    assert not (run / "report.json").exists()


def test_one_step_of_a_run(kosmos_here: Command, run: Path) -> None:
    words = ["evaluate", "run/checkpoints/step-75", "--tasks", "number", "--limit", "5", "--quiet", "--out", "step"]
    finished = kosmos_here(*words, cwd=run.parent)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert json.loads((run.parent / "step" / "report.json").read_text())["run"]["steps"] == 75
    assert not (run / "evaluation-partial").exists()


def test_ctrl_c_says_how_to_go_on(kosmos_here: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kosmos.evaluation.picturebook.run.run_suite", interrupt)
    finished = kosmos_here("evaluate", "run", "--tasks", "number", "--limit", "5", "--quiet", cwd=run.parent)
    assert finished.returncode == 4
    assert one_line(finished).endswith("tasks that are finished are kept: run the same command again to go on")


def test_an_optimizer_that_cannot_be_read_is_not_missed(kosmos_here: Command, run: Path) -> None:
    for file in (run / "checkpoints" / "step-100" / "optimizer").iterdir():
        file.write_bytes(b"")
    finished = kosmos_here("evaluate", "run", "--tasks", "number", "--limit", "5", "--quiet", cwd=run.parent)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert json.loads((run / "evaluation-partial" / "report.json").read_text())["run"]["steps"] == 100


def test_a_report_of_nothing(kosmos_here: Command, tmp_path: Path) -> None:
    finished = kosmos_here("report", "nothing", cwd=tmp_path)
    assert (finished.returncode, one_line(finished)) == (2, "nothing: no such run directory")


def test_no_report_yet(kosmos_here: Command, run: Path) -> None:
    finished = kosmos_here("report", "run", cwd=run.parent)
    assert "run: no report.json here" in one_line(finished)
    assert finished.returncode == 3
