from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from kosmos.evaluation.cells import Cell
from kosmos.evaluation.results import Results
from kosmos.evaluation.schema import METRICS, SAMPLE
from tests.evaluation.json_schema import errors
from tests.evaluation.toy import toy
from tests.evaluation.toy_results import accurate, captions, evaluate


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    kinds = [accurate(), toy("partial"), toy("yes"), toy("generate"), captions()]
    cells = [Cell(b, b.prompt(), k) for b in kinds for k in (0, 2) if k in b.shots]
    return evaluate(tmp_path_factory.mktemp("out"), cells)


def test_what_is_written_fits(results: Results) -> None:
    assert errors(METRICS, results.metrics) == []
    assert len(results.cells) == 6
    for name in results.cells:
        for sample in results.samples(name):
            assert errors(SAMPLE, sample) == [], name


def test_a_part_and_broken_examples_fit(tmp_path: Path) -> None:
    out = evaluate(tmp_path, [Cell(captions(), captions().prompt())], limit=3)
    assert errors(METRICS, out.metrics) == []
    broken = {**out.samples("toy_captions")[0]}
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
    sample = copy.deepcopy(results.samples("toy_choice-k2")[0])
    assert errors(SAMPLE, {**sample, name: value}) == [message]
    del sample["split"]
    assert errors(SAMPLE, sample) == ["$: no 'split'"]


def test_wrong_metrics_do_not(results: Results) -> None:
    metrics = json.loads(json.dumps(results.metrics))
    assert errors(METRICS, {**metrics, "schema_version": 0}) == ["$.schema_version: 0 is not 1"]
    metrics["cells"]["toy_choice"]["metrics"]["accuracy"]["interval"] = [0.5]
    assert errors(METRICS, metrics) == ["$.cells.toy_choice.metrics.accuracy: fits none of 2 forms"]
