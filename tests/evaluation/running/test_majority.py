"""What always saying the same would get, beside each score: by the metric of the score, not as a share of labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.measures import measure_cell
from kosmos.evaluation.running.plan import make_plan
from kosmos.evaluation.tasks.table1 import get_benchmark
from kosmos.example import Example


def majority(benchmark: Benchmark, examples: list[Example]) -> float | None:
    """Of a cell whose answers are all wrong."""
    made = replace(benchmark, read=lambda folder, split: examples)
    plan = make_plan([Cell(made, made.prompt())], lambda one: Path(), lambda *_: True, latents=1)
    samples = [
        {"id": e.id, "key": "", "answers": list(e.fields["answers"]), "label": e.fields.get("label"),
         "cluster": e.cluster, "prediction": "something else", "demonstrations_dropped": 0, "cut": False}
        for e in examples
    ]  # fmt: skip
    found = measure_cell(plan.cells[0], samples)["majority"]
    assert found is None or isinstance(found, float)
    return found


def test_free_answers_by_their_metric() -> None:
    people = [["no"] * 10, ["no"] * 2 + ["yes"] * 8, ["blue"] * 10]
    questions = [Example(str(n), {"question": "What?", "answers": said}) for n, said in enumerate(people)]
    # All ten, then two of ten: mean over the people of min(1, others who said so / 3), then nobody.
    second = (2 * min(1, 1 / 3) + 8 * min(1, 2 / 3)) / 10
    assert majority(get_benchmark("vqav2"), questions) == pytest.approx((1 + second + 0) / 3)
    words = [Example(str(n), {"question": "What?", "answers": [said]}) for n, said in enumerate(["yes", "no", "Yes."])]
    assert majority(get_benchmark("websrc"), [*words, replace(words[0], id="3")]) == 0.75
    captions = [Example(str(n), {"answers": ["a cat"]}) for n in range(3)]
    assert majority(get_benchmark("coco_caption"), captions) is None


def test_the_commonest_answer_of_vizwiz(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "vizwiz"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    benchmark = get_benchmark("vizwiz")
    found = majority(benchmark, benchmark.read(folder, "validation"))
    assert found is not None and round(100 * found, 2) == 52.12


def test_the_commonest_name(tmp_path: Path) -> None:
    benchmark = get_benchmark("imagenet")
    pictures = benchmark.read(write_fixture("imagenet", tmp_path), "validation")
    assert majority(benchmark, pictures) == pytest.approx(2 / 3)  # two of the three are of one name
