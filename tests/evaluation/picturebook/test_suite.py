from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.document import Document
from kosmos.evaluation.picturebook.suite import run_suite
from kosmos.evaluation.task import Task
from kosmos.example import Example
from tests.evaluation.scripted import LEVELS, ScriptedEngine, flat, level_of, puzzle_task, shade_examples, shade_task


def seeing() -> ScriptedEngine:
    return ScriptedEngine(reply=lambda document: LEVELS.get(level_of(document), "dark") if document.images else "four")


def text_task() -> Task:
    def template(example: Example) -> Document:
        return shade_task().template(Example("1", example.fields))

    examples = [Example(f"sum-{index}", {"answer": "four"}) for index in range(4)]
    return shade_task(name="text", examples=lambda: examples, template=template, baselines=(), chance=0.0)


def test_every_task_gets_its_blank_score_its_baselines_and_its_chance(tmp_path: Path) -> None:
    shade, text = run_suite(seeing(), [shade_task(), text_task()], tmp_path, quiet=True)
    assert (shade.result.score, shade.chance) == (1.0, 0.25)
    assert shade.blank is not None and shade.blank.score == 0.25
    assert [(b.name, b.score) for b in shade.baselines] == [
        ("majority", 0.25),
        ("question_majority", 0.25),
        ("pixel_nearest_neighbour", 1.0),
    ]
    assert shade.beats_baseline is False
    assert (text.result.score, text.blank, text.baselines) == (1.0, None, ())
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json"))
    assert files == [
        "baselines/shade.json",
        "baselines/text.json",
        "baselines/timing.json",
        "blank/shade.json",
        "blank/timing.json",
        "samples/shade.json",
        "samples/text.json",
        "samples/timing.json",
    ]


def test_a_second_run_reads_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [shade_task(), puzzle_task()]
    first = run_suite(seeing(), tasks, tmp_path, model_key="a", quiet=True)
    fitted = "kosmos.evaluation.picturebook.suite.run_baselines"
    monkeypatch.setattr(fitted, lambda task, limit: pytest.fail("fitted again"))
    engine = seeing()
    again = run_suite(engine, tasks, tmp_path, model_key="a", quiet=True)
    assert not engine.asked
    assert [ability.row() for ability in again] == [ability.row() for ability in first]


def test_other_weights_are_evaluated_anew_but_the_baselines_stay(tmp_path: Path) -> None:
    run_suite(seeing(), [shade_task()], tmp_path, model_key="a", quiet=True)
    before = (tmp_path / "baselines" / "timing.json").stat().st_mtime_ns
    [ability] = run_suite(ScriptedEngine(), [shade_task()], tmp_path, model_key="b", quiet=True)
    assert ability.result.score == 0.0
    assert (tmp_path / "baselines" / "timing.json").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "baselines" / "shade.json").read_text())["baselines"][2]["score"] == 1.0


def test_a_limit_holds_for_the_baselines_too(tmp_path: Path) -> None:
    examples = [*shade_examples(2), Example("odd", {"answer": "white"}, (flat(1),))]
    task = shade_task(examples=lambda: examples)
    [ability] = run_suite(seeing(), [task], tmp_path, limit=2, quiet=True)
    assert (ability.result.n, ability.baselines[2].n, ability.baselines[2].score) == (2, 2, 1.0)
