from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from kosmos.errors import DataError
from kosmos.evaluation.files import read_jsonl, write_jsonl
from kosmos.evaluation.reporting.results import Results
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.schema import METRICS, SAMPLE
from tests.evaluation.running.json_schema import errors
from tests.evaluation.toy import toy
from tests.evaluation.toy_results import accurate, captions, evaluate


def written(results: Results, cell: str) -> list[dict[str, Any]]:
    return read_jsonl(results.folder / "samples" / f"{cell}.jsonl")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    kinds = [accurate(), toy("partial"), toy("yes"), toy("generate"), captions()]
    cells = [Cell(b, b.prompt(), k) for b in kinds for k in (0, 2) if k in b.shots]
    return evaluate(tmp_path_factory.mktemp("out"), cells)


def test_what_is_written_fits(results: Results) -> None:
    assert errors(METRICS, results.metrics) == []
    assert len(results.cells) == 6
    for name in results.cells:
        for sample in written(results, name):
            assert errors(SAMPLE, sample) == [], name


def test_a_part_and_broken_examples_fit(tmp_path: Path) -> None:
    out = evaluate(tmp_path, [Cell(captions(), captions().prompt())], limit=3)
    assert errors(METRICS, out.metrics) == []
    broken = {**written(out, "toy_captions")[0]}
    for name in ("prompts", "prediction", "values", "tokens", "score", "finish_reason"):
        del broken[name]
    assert errors(SAMPLE, broken) == ["$: fits none of 3 forms"]
    assert errors(SAMPLE, {**broken, "broken": "picture 3: cannot be read"}) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("id", 7, "$.id: 7 is no string"),
        ("ties", 0, "$: fits none of 3 forms"),
        ("image_sha256", ["abc"], "$.image_sha256[0]: 'abc' does not match ^[0-9a-f]{64}$"),
        ("values", {"accuracy": "good"}, "$.values.accuracy: 'good' is no number"),
        ("scores", {"sum": [1.0]}, "$: fits none of 3 forms"),
    ],
)
def test_wrong_samples_do_not(results: Results, name: str, value: Any, message: str) -> None:
    sample = copy.deepcopy(written(results, "toy_choice-k2")[0])
    assert errors(SAMPLE, {**sample, name: value}) == [message]
    del sample["split"]
    assert errors(SAMPLE, sample) == ["$: no 'split'"]


def test_wrong_metrics_do_not(results: Results) -> None:
    metrics = json.loads(json.dumps(results.metrics))
    assert errors(METRICS, {**metrics, "schema_version": 0}) == ["$.schema_version: 0 is not 1"]
    metrics["cells"]["toy_choice"]["metrics"]["accuracy"]["interval"] = [0.5]
    assert errors(METRICS, metrics) == ["$.cells.toy_choice.metrics.accuracy: fits none of 2 forms"]


def test_any_character_may_stand_in_a_sample(results: Results, tmp_path: Path) -> None:
    """Some passages hold U+2028, which ends a line for str.splitlines."""
    samples = written(results, "toy_choice")
    samples[0]["prompts"], samples[1]["prediction"] = ["one\u2028two"], "three\x85four"
    write_jsonl(tmp_path / "samples" / "a.jsonl", samples)
    assert read_jsonl(tmp_path / "samples" / "a.jsonl") == samples
    read = Results(tmp_path, {}, {})
    assert [sample["id"] for sample in read.samples("a")] == [sample["id"] for sample in samples]
    assert read.samples("a")[1]["prediction"] == "three\x85four" and "prompts" not in read.samples("a")[0]
    assert read.whole_samples("a", {"test-0"}) == {"test-0": samples[0]}
    (tmp_path / "samples" / "a.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"a\.jsonl: cannot read the samples"):
        Results(tmp_path, {}, {}).samples("a")
