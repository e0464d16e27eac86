from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.cli.main import main
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.running.benchmark_runner import RunSettings, run_benchmarks
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.plan import make_plan
from kosmos.evaluation.tasks.table1 import get_benchmark
from tests.evaluation.toy import FreeEngine


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """An evaluation of the three splits without answers, WebSRC's with two prompts."""
    cells = []
    for name in ("vqav2_test", "vizwiz_test", "websrc_test"):
        benchmark = get_benchmark(name)
        write_fixture(benchmark.folder, tmp_path / "eval-data")
        cells.append(Cell(benchmark, benchmark.prompt()))
    cells.append(Cell(cells[-1].benchmark, cells[-1].benchmark.prompt("image_only")))
    plan = make_plan(cells, lambda one: tmp_path / "eval-data" / one.folder, lambda document, answers: True, latents=4)
    assert run_benchmarks(FreeEngine(), plan, RunSettings(tmp_path / "eval", "weights")) is not None
    return tmp_path / "eval"


def submission(evaluation: Path, task: str, *options: str) -> int:
    data, out = str(evaluation.parent / "eval-data"), str(evaluation.parent / "out")
    return main(["eval", "submission", str(evaluation), "--task", task, "--data", data, "--out", out, *options])


def test_files_are_written_and_named(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert submission(evaluation, "vqav2_test") == 0
    said = capsys.readouterr()
    path = evaluation.parent / "out" / "v2_OpenEnded_mscoco_test2015_kosmos_results.json"
    assert said.out == f"{path}\n" and said.err.startswith("3 answers, all checked. Hand the file in at")
    assert said.err.splitlines()[-1].startswith("The official split has 447,793 questions: ")
    assert [entry["question_id"] for entry in json.loads(path.read_text())] == [1000, 1001, 1002]
    assert submission(evaluation, "vizwiz_test") == 0
    entries = json.loads((evaluation.parent / "out" / "vizwiz_test_results.json").read_text())
    assert [entry["image"] for entry in entries] == [f"VizWiz_test_0000000{number}.jpg" for number in range(3)]


def test_one_of_several_cells_is_chosen(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert submission(evaluation, "websrc_test") == 2
    assert "choose one with --cell: websrc_test, websrc_test-image_only" in capsys.readouterr().err
    assert submission(evaluation, "websrc_test", "--cell", "websrc_test-text_only") == 2
    assert "no samples of 'websrc_test-text_only'" in capsys.readouterr().err
    assert submission(evaluation, "websrc_test", "--cell", "websrc_test-image_only") == 0
    assert json.loads((evaluation.parent / "out" / "tag_prediction.json").read_text()) == {"ho070000100000": -1}


def test_other_tasks_and_missing_samples_are_told(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert submission(evaluation, "boolq") == 2
    assert "no server takes 'boolq'" in capsys.readouterr().err
    (evaluation / "samples" / "vqav2_test.jsonl").unlink()
    assert submission(evaluation, "vqav2_test") == 2
    assert "no samples of vqav2_test: run `kosmos eval RUN --tasks vqav2_test` first" in capsys.readouterr().err


def test_a_part_of_the_questions_is_refused(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = evaluation / "samples" / "vizwiz_test.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert submission(evaluation, "vizwiz_test") == 3
    assert "1 of 3 ids are missing, such as VizWiz_test_00000002.jpg" in capsys.readouterr().err
