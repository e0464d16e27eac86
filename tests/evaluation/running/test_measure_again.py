from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.cli.main import main
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.running.benchmark_runner import RunSettings, run_benchmarks
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.measure_again import measure_again
from kosmos.evaluation.running.plan import make_plan
from kosmos.evaluation.tasks.table1 import BENCHMARKS, get_benchmark
from tests.evaluation.toy import FreeEngine


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("copa", "imagenet"):
        write_fixture(name, tmp_path / "data")
    return tmp_path / "data"


def evaluate(data: Path, out: Path) -> None:
    copa, imagenet = get_benchmark("copa"), get_benchmark("imagenet")
    settings = RunSettings(out, "weights", facts={"model": "runs/mine"})
    for cells, limit in (
        ([Cell(copa, copa.prompt(), 1, seed=2), Cell(imagenet, imagenet.prompt(), held_to_names=True)], None),
        ([Cell(copa, copa.prompt("lm_eval"))], 2),
    ):
        plan = make_plan(cells, lambda benchmark: data / benchmark.name, lambda document, answers: True, 4, limit)
        run_benchmarks(FreeEngine(), plan, settings)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in [*out.glob("samples/*"), out / "metrics.json"]}


def test_from_the_responses_alone(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    evaluate(data, out)
    before = files(out)
    assert set(before) == {"copa-k1-s2.jsonl", "imagenet-names.jsonl", "copa-lm_eval.jsonl", "metrics.json"}
    for path in [*out.glob("samples/*"), out / "metrics.json"]:
        path.unlink()
    assert list(measure_again(out, data)["cells"]) == ["copa-k1-s2", "imagenet-names", "copa-lm_eval"]
    assert files(out) == before
    assert main(["eval", "measure", str(out), "--data", str(data)]) == 0
    assert "COPA (lm_eval)" in capsys.readouterr().out
    assert files(out) == before and (out / "report.html").exists()
    # The report's pictures come from the same data.
    assert main(["eval", "report", str(out), "--data", str(data)]) == 0
    assert (out / "report.html").read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 2


def test_what_cannot_be_measured(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no plan\.json here"):
        measure_again(tmp_path, data)
    out = tmp_path / "out"
    evaluate(data, out)
    lines = (data / "copa" / "val.jsonl").read_text().splitlines(keepends=True)
    (data / "copa" / "val.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="copa-k1-s2 was asked of 5 examples, and the data now have 4"):
        measure_again(out, data)
    (data / "copa" / "val.jsonl").write_text("".join(lines))
    for path in (out / "responses").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no responses yet"):
        measure_again(out, data)


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "dataset", "split", "n", "shots", "prompts", "metrics"]
    (boolq,) = [line for line in lines if line.startswith("boolq ")]
    assert boolq.split() == ["boolq", "BoolQ", "validation", "3,270", "0,1,4", "lmops,", "lm_eval", "accuracy"]
    (sizes,) = [line for line in lines if line.startswith("relative_size ")]
    assert "paper, reversed, valm " in sizes
    assert main(["eval", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == list(BENCHMARKS)
    assert main(["eval", "list", "--files"]) == 0
    said = capsys.readouterr().out
    assert all(benchmark.source.url in said for benchmark in BENCHMARKS.values())
