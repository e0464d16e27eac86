"""All of Table 1, and chain of thought, on made-up files: the real command, the real Engine, a tiny random model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kosmos.cli.main import main
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.tasks.table1 import TABLE1, get_benchmark
from tests.evaluation.small_model import save_small, write_datasets

THOUGHTS = [(b.name, prompt.name) for b in TABLE1 for prompt in b.prompts if prompt.rationale is not None]
OTHERS = [(b.name, prompt.name) for b in TABLE1 for prompt in b.prompts[1:] if prompt.rationale is None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_datasets(tmp_path_factory.mktemp("data"))


def evaluate(model: Path, data: Path, out: Path, tasks: str, *options: str) -> dict[str, Any]:
    """The cells of metrics.json."""
    command = ["eval", str(model), "--tasks", tasks, "--data", str(data), "--out", str(out), "--quiet", *options]
    assert main(command) == 0
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["cells"]
    return found


def samples_of(out: Path, cell: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "samples" / f"{cell}.jsonl").read_text(encoding="utf-8").splitlines()]


def check_metrics(benchmark: Benchmark, cell: dict[str, Any]) -> None:
    """Every metric is there: a finite number with its interval, or the line that says why it was not run."""
    assert len(cell["metrics"]) == len(benchmark.metrics)
    for metric in cell["metrics"].values():
        if metric["value"] is None:
            assert metric["not_run"]
            continue
        assert math.isfinite(metric["value"])
        low, high = metric["interval"]
        assert low <= metric["value"] <= high or metric["method"].startswith("bootstrap")


@pytest.mark.parametrize("benchmark", TABLE1, ids=lambda benchmark: benchmark.name)
def test_every_dataset_with_all_its_shots(benchmark: Benchmark, model: Path, data: Path, tmp_path: Path) -> None:
    shots = ",".join(str(number) for number in benchmark.shots)
    cells = evaluate(model, data, tmp_path, benchmark.name, "--shots", shots)
    ways = (2 if benchmark.mode == "names" else 1) * (1 + len(benchmark.beside))
    assert len(cells) == len(benchmark.shots) * ways
    examples = benchmark.read(data / benchmark.name, benchmark.split)
    for name, cell in cells.items():
        assert (cell["n"], cell["n_broken"]) == (len(examples), 0)
        check_metrics(benchmark, cell)
        samples = samples_of(tmp_path, name)
        assert [sample["id"] for sample in samples] == [example.id for example in examples]
        assert all(len(sample["demonstrations"]) == cell["shots"] for sample in samples)
        if cell["held_to_names"]:
            assert benchmark.names is not None
            names = {known.strip() for known in benchmark.names(data / benchmark.name)}
            assert {sample["prediction"].strip() for sample in samples} <= names


@pytest.mark.parametrize(("name", "prompt"), THOUGHTS)
def test_chain_of_thought(name: str, prompt: str, model: Path, data: Path, tmp_path: Path) -> None:
    (cell,) = evaluate(model, data, tmp_path, name, "--prompt", prompt).values()
    check_metrics(get_benchmark(name), cell)
    samples = samples_of(tmp_path, f"{name}-{prompt}")
    assert all(isinstance(sample["rationale"], str) for sample in samples)
    assert any(sample["rationale"] for sample in samples)


@pytest.mark.parametrize(("name", "prompt"), OTHERS)
def test_every_other_prompt(name: str, prompt: str, model: Path, data: Path, tmp_path: Path) -> None:
    cells = evaluate(model, data, tmp_path, name, "--prompt", prompt, "--limit", "2")
    assert all(cell["n"] == 2 and cell["prompt"] == prompt for cell in cells.values())


def test_the_table_as_one_command(model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = evaluate(model, data, tmp_path, "table1", "--limit", "2")
    assert {cell["benchmark"] for cell in cells.values()} == {benchmark.name for benchmark in TABLE1}
    printed = capsys.readouterr().out
    assert [benchmark.title for benchmark in TABLE1 if benchmark.title.split()[0] not in printed] == []


@pytest.mark.parametrize("benchmark", TABLE1, ids=lambda benchmark: benchmark.name)
def test_the_hubs_files_are_the_same_questions(benchmark: Benchmark, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    if not benchmark.source.hub_files:
        pytest.skip("only the official files exist")
    official = benchmark.read(data / benchmark.name, benchmark.split)
    hub = benchmark.read(write_fixture(benchmark.name, tmp_path, "hub"), benchmark.split)
    assert len(hub) == len(official)
    assert [e.fields.get("label") for e in hub] == [e.fields.get("label") for e in official]
