from __future__ import annotations

import math

import pytest

from kosmos.errors import DataError
from kosmos.inference.answers import generation_fields, rank, score_fields
from kosmos.inference.generation import Generation, Score


def test_a_generation_has_no_empty_fields() -> None:
    generation = Generation("a", (5, 2), (-0.5, -0.25), "end", -0.75)
    plain = {"text": "a", "token_ids": [5, 2], "log_probs": [-0.5, -0.25], "finish_reason": "end"}
    assert generation_fields(generation) == plain
    assert generation_fields(generation, ranked=True) == {**plain, "score": -0.75}


def test_others_have_the_same_form() -> None:
    second = Generation("b", (6,), (-1.0,), "length", -1.0)
    made = generation_fields(Generation("a", (5, 2), (-0.5, -0.25), "end", -0.375, (second,)), ranked=True)
    assert made["score"] == -0.375
    assert made["others"] == [
        {"text": "b", "token_ids": [6], "log_probs": [-1.0], "finish_reason": "length", "score": -1.0}
    ]


def test_ranked_by_each_score() -> None:
    candidates = [" cat", " hot dog", " ox"]
    scores = [Score(-2.0, 1), Score(-3.0, 3), Score(-2.0, 2)]
    made = rank(candidates, scores)
    assert [item.candidate for item in made] == [" cat", " ox", " hot dog"]  # equal ones in the order given
    total = 2 * math.exp(-2) + math.exp(-3)
    assert [item.probability for item in made] == pytest.approx([math.exp(-2) / total] * 2 + [math.exp(-3) / total])
    assert sum(item.probability for item in made) == pytest.approx(1.0)
    assert [item.per_character for item in made] == [-2 / 3, -1.0, -3 / 7]
    assert [item.candidate for item in rank(candidates, scores, "mean")] == [" hot dog", " ox", " cat"]
    assert [item.candidate for item in rank(candidates, scores, "per_character")] == [" hot dog", " cat", " ox"]
    assert made[1].fields == {
        "candidate": "ox",
        "sum": -2.0,
        "num_tokens": 2,
        "mean": -1.0,
        "per_character": -1.0,
        "probability": made[1].probability,
    }
    assert score_fields(candidates, scores, "mean") == {
        "best": "hot dog",
        "sums": [-2.0, -3.0, -2.0],
        "num_tokens": [1, 3, 2],
    }


def test_very_improbable_candidates_have_probabilities_too() -> None:
    assert [item.probability for item in rank(["a", "b"], [Score(-9000.0, 2), Score(-9000.0, 2)])] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (Score(math.nan, 1), "not a number: the weights are damaged"),
        (Score(-math.inf, 1), "not a number"),
        (Score(0.0, 0), r"the candidate '\\u200b' has no tokens"),
    ],
)
def test_scores_that_are_none(score: Score, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rank(["a", "\u200b"], [Score(-1.0, 1), score])
