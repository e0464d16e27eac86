from __future__ import annotations

from typing import Any

import pytest

from kosmos.document import Document, Text
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.picturebook import baselines
from kosmos.evaluation.picturebook.baselines import BaselineResult, register_baseline, run_baselines, strongest
from kosmos.evaluation.statistics.intervals import wilson
from kosmos.evaluation.task import Task
from kosmos.example import Example
from tests.evaluation.scripted import flat, puzzle_task, shade_examples, shade_task


def scores(task: Task) -> dict[str, float]:
    return {result.name: result.score for result in run_baselines(task)}


def question_task(train: list[tuple[str, str, int]], test: list[tuple[str, str, int]], **changes: Any) -> Task:
    """Questions on grey pictures: (question, answer, level)."""

    def examples(rows: list[tuple[str, str, int]]) -> list[Example]:
        return [
            Example(str(index), {"question": question, "answer": answer}, (flat(level),))
            for index, (question, answer, level) in enumerate(rows)
        ]

    def template(example: Example) -> Document:
        return Document(*example.images, Text(str(example.fields["question"]), False), f" {example.fields['answer']}")

    settings: dict[str, Any] = {"train_examples": lambda n: examples(train)[:n], **changes}
    return Task("questions", lambda: examples(test), template, **settings)


def test_all_three_on_shades() -> None:
    assert scores(shade_task()) == {"majority": 0.25, "question_majority": 0.25, "pixel_nearest_neighbour": 1.0}
    [result] = run_baselines(shade_task(baselines=("pixel_nearest_neighbour",)))
    assert (result.n, result.interval) == (8, wilson(1.0, 8))


def test_majority_is_the_commonest_training_answer_not_the_commonest_test_answer() -> None:
    task = question_task(
        [("q", "yes", 0), ("q", "no", 0), ("q", "no", 0)], [("q", "yes", 0)] * 1, baselines=("majority",)
    )
    assert scores(task) == {"majority": 0.0}


def test_question_majority_answers_by_the_question_and_falls_back() -> None:
    train = [("colour?", "red", 0), ("colour?", "red", 0), ("many?", "two", 0), ("new?", "red", 0)]
    test = [("many?", "two", 0), ("colour?", "red", 0), ("unseen?", "red", 0), ("unseen?", "two", 0)]
    task = question_task(train, test, baselines=("majority", "question_majority"))
    assert scores(task) == {"majority": 0.5, "question_majority": 0.75}


def test_nearest_pixels_may_be_kept_to_the_same_question() -> None:
    train = [("colour?", "grey", 100), ("many?", "one", 101), ("many?", "two", 200)]
    test = [("many?", "one", 99), ("unseen?", "grey", 99)]
    names = ("pixel_nearest_neighbour", "pixel_nearest_neighbour_same_question")
    # At level 99 the nearest of all is "grey"; among "many?" it is "one". An unseen question gets the majority.
    assert scores(question_task(train, test, baselines=names)) == {
        "pixel_nearest_neighbour": 0.5,
        "pixel_nearest_neighbour_same_question": 1.0,
    }


def test_pictures_of_a_size_never_trained_on_get_the_majority() -> None:
    task = shade_task(
        examples=lambda: [Example("1", {"answer": "white"}, (flat(250, size=9),))],
        train_examples=lambda n: [*shade_examples(4), Example("w", {"answer": "white"}, (flat(1),))],
        baselines=("pixel_nearest_neighbour",),
    )
    assert scores(task) == {"pixel_nearest_neighbour": 1.0}


def test_no_more_training_examples_are_asked_for_than_declared() -> None:
    asked: list[int] = []

    def train(n: int) -> list[Example]:
        asked.append(n)
        return shade_examples(n)

    run_baselines(shade_task(train_examples=train, num_train_examples=7))
    assert asked == [7]


def in_context_task(labels: list[str], levels: list[int], answer: str, names: tuple[str, ...]) -> Task:
    example = Example("1", {"answer": answer, "demonstrations": labels}, tuple(flat(level) for level in levels))
    return shade_task(examples=lambda: [example], baselines=names, train_examples=None)


def test_demonstration_baselines() -> None:
    names = ("nearest_demonstration", "random_demonstration")
    found = scores(in_context_task(["dax", "wug"], [20, 200, 180], "wug", names))
    assert found == {"nearest_demonstration": 1.0, "random_demonstration": 0.5}
    tied = scores(in_context_task(["dax", "wug"], [20, 20, 180], "wug", names))
    assert tied == {"nearest_demonstration": 0.5, "random_demonstration": 0.5}
    assert scores(in_context_task([], [180], "wug", names)) == dict.fromkeys(names, 0.0)
    with pytest.raises(DataError, match="must label each image but the last"):
        run_baselines(in_context_task(["dax"], [20, 200, 180], "wug", names))


def test_candidate_baselines() -> None:
    # Contexts 41, 121, 221 beside candidates 40, 120, 220: the nearest is right, the central one always 120.
    found = scores(puzzle_task(baselines=("central_candidate", "candidate_nearest_context")))
    assert found == {"central_candidate": pytest.approx(1 / 3), "candidate_nearest_context": 1.0}


def test_the_unseen_candidate_excludes_what_was_given() -> None:
    levels = [40, 120, 220]
    images = tuple(flat(level) for level in [40, *levels])
    examples = [Example("new", {"gold": 1}, images), Example("given", {"gold": 0}, images)]
    task = puzzle_task(examples=lambda: examples, baselines=("unseen_candidate",))
    assert scores(task) == {"unseen_candidate": 0.25}  # a half for one of two, and nothing
    assert scores(puzzle_task(baselines=("unseen_candidate",))) == {"unseen_candidate": pytest.approx(1 / 3)}


def test_candidate_baselines_need_candidates() -> None:
    with pytest.raises(UsageError, match="mode 'yes' only"):
        run_baselines(shade_task(baselines=("central_candidate",)))


def test_the_strongest_is_the_best_and_the_first_of_equals() -> None:
    made = [BaselineResult(name, score, wilson(score, 10), 10) for name, score in [("a", 0.1), ("b", 0.4), ("c", 0.4)]]
    best = strongest(made)
    assert best is not None and best.name == "b"
    assert strongest([]) is None


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="no baseline 'majorty' \\(did you mean 'majority'\\?\\)"):
        run_baselines(shade_task(baselines=("majorty",)))
    with pytest.raises(UsageError, match="need `train_examples`"):
        run_baselines(shade_task(train_examples=None))
    with pytest.raises(DataError, match="no training examples"):
        run_baselines(shade_task(train_examples=lambda n: []))
    assert run_baselines(shade_task(baselines=())) == []


def test_a_baseline_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_BASELINES", {})
    register_baseline("black", lambda task, train, test: [("black",)] * len(test), fitted=False)
    assert scores(shade_task(baselines=("black",), train_examples=None)) == {"black": 0.25}
