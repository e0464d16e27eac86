from __future__ import annotations

import math

import pytest

from kosmos.document import Document
from kosmos.errors import DataError
from kosmos.evaluation.picturebook.responses import Response, ask, collect_requests, prepare
from kosmos.evaluation.task import Task
from kosmos.example import Example
from tests.evaluation.scripted import LEVELS, ScriptedEngine, flat, level_of, puzzle_task, shade_task


def run(task: Task, engine: ScriptedEngine, blank: bool = False) -> list[Response]:
    items = [prepare(task, example, blank) for example in task.examples()]
    return ask(engine, collect_requests(task, items), items)


def test_generated_answers_are_scored_by_the_metric_in_the_items_order() -> None:
    engine = ScriptedEngine(reply=lambda document: {10: " Black", 60: "dark"}.get(level_of(document), "no idea"))
    responses = run(shade_task(), engine)
    assert [response.prediction for response in responses] == [" Black", "dark", "no idea", "no idea"] * 2
    assert [response.value for response in responses] == [1.0, 1.0, 0.0, 0.0] * 2
    assert responses[0].finish_reason == "end"


def test_equal_requests_are_asked_once() -> None:
    engine = ScriptedEngine()
    run(shade_task(), engine)
    assert sorted(level_of(document) for document in engine.asked) == sorted(LEVELS)
    engine = ScriptedEngine()
    run(shade_task(), engine, blank=True)
    assert [level_of(document) for document in engine.asked] == [255]


def test_prompts_are_unsupervised() -> None:
    engine = ScriptedEngine()
    run(shade_task(), engine)
    run(puzzle_task(), engine)
    assert not any(segment.supervised for document in engine.asked for segment in document)


def test_choice_takes_the_most_likely_candidate() -> None:
    def log_prob(document: Document, text: str) -> float:
        return -1.0 if text == f" {LEVELS[level_of(document)]}" else -2.0

    responses = run(shade_task(mode="choice"), ScriptedEngine(log_prob=log_prob))
    assert {response.value for response in responses} == {1.0}
    assert responses[1].prediction == " dark"
    assert responses[1].scores == (-2.0, -1.0, -2.0, -2.0)


def test_ties_count_as_a_fair_draw() -> None:
    responses = run(shade_task(mode="choice"), ScriptedEngine())
    assert [response.value for response in responses] == [0.25] * 8
    assert [response.ties for response in responses] == [4] * 8
    puzzles = run(puzzle_task(), ScriptedEngine())
    assert [response.value for response in puzzles] == [pytest.approx(1 / 3)] * 6


def test_blank_candidates_tie_exactly() -> None:
    """All contexts of a puzzle are the same Document then, whatever the engine's rounding."""
    noise = iter(range(1000))
    engine = ScriptedEngine(log_prob=lambda document, text: -1.0 - 1e-3 * next(noise))
    assert {response.value for response in run(puzzle_task(), engine, blank=True)} == {1 / 3}


@pytest.mark.parametrize(
    ("normalization", "winner", "divisors"),
    [("sum", " a", (1, 1, 1)), ("per_token", " b b b", (1, 3, 1)), ("per_character", " b b b", (1, 5, 10))],
)
def test_normalizations_differ_as_named(normalization: str, winner: str, divisors: tuple[int, ...]) -> None:
    scores = {" a": -1.0, " b b b": -2.9, " cccccccccc": -11.0}
    example = Example("1", {"answer": "a", "candidates": list(scores)}, (flat(10),))
    task = shade_task(mode="choice", normalization=normalization, examples=lambda: [example])
    [response] = run(task, ScriptedEngine(log_prob=lambda document, text: scores[text]))
    assert response.prediction == winner
    assert response.scores == tuple(score / divisor for score, divisor in zip(scores.values(), divisors))


def test_yes_takes_the_context_where_yes_is_most_likely() -> None:
    def log_prob(document: Document, text: str) -> float:
        assert text == " Yes"
        given, candidate = (int(image.source[0, 0, 0]) for image in document.images)
        return -abs(given - candidate) / 100

    responses = run(puzzle_task(), ScriptedEngine(log_prob=log_prob))
    assert [response.prediction for response in responses] == ["0", "1", "2", "0", "1", "2"]
    assert [response.value for response in responses] == [1.0] * 6


def test_yes_no_is_the_share_of_yes() -> None:
    # A context where both words are unlikely, but Yes the likelier, wins over one where both are likely.
    def log_prob(document: Document, text: str) -> float:
        yes, no = {40: (-8.0, -9.0), 120: (-1.0, -0.5), 220: (-900.0, -901.0)}[level_of(document)]
        return yes if text == " Yes" else no

    response = run(puzzle_task(normalization="yes_no"), ScriptedEngine(log_prob=log_prob))[0]
    share = math.log(1 / (1 + math.exp(-1.0)))
    assert response.scores == pytest.approx((share, math.log(1 / (1 + math.exp(0.5))), share), abs=1e-12)
    assert (response.ties, response.value) == (2, 0.5)
    assert run(puzzle_task(), ScriptedEngine(log_prob=log_prob))[0].prediction == "1"


def test_scores_that_are_not_numbers_are_an_error() -> None:
    with pytest.raises(DataError, match="not a number"):
        run(puzzle_task(), ScriptedEngine(log_prob=lambda document, text: math.nan))


def test_a_gold_outside_the_candidates_is_an_error() -> None:
    broken = Example("7", {"gold": 3}, puzzle_task().examples()[0].images)
    with pytest.raises(DataError, match="example 7: gold is not one of 3"):
        prepare(puzzle_task(), broken, blank=False)
