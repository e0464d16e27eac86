from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.accuracy import best_candidates, choice_accuracy, f1_macro
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.metrics.roc_auc import roc_auc


def choice(index: int, label: int | None, *scores: float, ties: int = 1) -> Answered:
    return Answered(str(index), "", label=label, scores=scores, ties=ties)


def test_ties_count_by_expectation() -> None:
    assert choice_accuracy(1, [-2.0, -1.0, -3.0]) == 1.0
    assert choice_accuracy(0, [-2.0, -1.0, -3.0]) == 0.0
    assert choice_accuracy(0, [-1.0, -1.0, -3.0]) == choice_accuracy(1, [-1.0, -1.0, -3.0]) == 0.5
    assert choice_accuracy(2, [-1.0] * 6) == pytest.approx(1 / 6)
    # The caller may count candidates within rounding as tied.
    assert best_candidates([-1.0, -1.0 - 1e-9, -3.0], ties=2) == [0, 1]
    measured = set_metric("accuracy").measure([choice(0, 0, -1.0, -1.0), choice(1, 1, -2.0, -1.0)])
    assert (measured.value, measured.values, measured.details) == (0.75, (0.5, 1.0), {"ties": 1.0})


def test_what_has_no_score_is_refused() -> None:
    with pytest.raises(DataError, match="not a number"):
        set_metric("accuracy").measure([choice(0, 0, math.nan, -1.0)])
    for bad in (choice(3, None, -1.0, -2.0), choice(3, 2, -1.0, -2.0), choice(3, 0)):
        with pytest.raises(DataError, match="example 3: accuracy needs"):
            set_metric("accuracy").measure([bad])
    with pytest.raises(UsageError, match="f1_macro needs"):
        set_metric("f1_macro").measure([])


def test_f1_of_classes_by_hand() -> None:
    # Class 0: 2 right, 1 wrongly given: 4 / 5; class 1: 1 of 2: 2 / 3; class 2: never right.
    given = [
        choice(0, 0, 1.0, 0.0, 0.0),
        choice(1, 0, 1.0, 0.0, 0.0),
        choice(2, 1, 0.0, 1.0, 0.0),
        choice(3, 1, 1.0, 0.0, 0.0),
    ]
    assert set_metric("f1_macro").measure(given).value == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)
    assert f1_macro(np.array([[0.5, 0.5], [0.0, 1.0]])) == pytest.approx((1 / 1.5 + 2 / 2.5) / 2)


def test_f1_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(3, size=200), rng.normal(size=(200, 3))
    expected = metrics.f1_score(labels, scores.argmax(axis=1), labels=[0, 1, 2], average="macro")
    given = [choice(index, int(label), *map(float, row)) for index, (label, row) in enumerate(zip(labels, scores))]
    assert set_metric("f1_macro").measure(given).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("spread", [0.01, 5.0])
def test_auc_of_float32_log_probabilities_is_that_of_scikit_learn(spread: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels = rng.integers(2, size=500)
    # Near -200, where squashing scores into [0, 1] makes them all alike; rounded, so that some tie.
    log_probs = (-200 + spread * rng.normal(size=(500, 2)) + 0.3 * spread * labels[:, None] * [-1, 1]).astype(
        np.float32
    )
    given = [choice(index, int(label), *map(float, row)) for index, (label, row) in enumerate(zip(labels, log_probs))]
    measured = set_metric("roc_auc").measure(given)
    margin = log_probs[:, 1].astype(np.float64) - log_probs[:, 0].astype(np.float64)
    assert measured.value == pytest.approx(metrics.roc_auc_score(labels, margin), abs=1e-12)
    assert measured.value > 0.55
    assert len(np.unique(margin)) < 500 or spread > 1


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=30))
def test_auc_counts_pairs(rows: list[tuple[int, int, int]]) -> None:
    labels, scores, weights = (np.array(column) for column in zip(*rows))
    pairs = [
        (x > y) + 0.5 * (x == y)
        for a, x, n in rows
        for b, y, m in rows
        for _ in range(n * m)
        if (a, b) == (1, 0)
    ]  # fmt: skip
    value = roc_auc(labels, scores.astype(float), weights)
    if pairs:
        assert value == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    else:
        assert math.isnan(value)


def test_auc_of_one_class_is_not_run() -> None:
    measured = set_metric("roc_auc").measure([choice(0, 1, -1.0, -2.0), choice(1, 1, -2.0, -1.0)])
    assert math.isnan(measured.value)
    assert "both classes" in measured.not_run
    with pytest.raises(DataError, match="example 4: ROC AUC needs"):
        set_metric("roc_auc").measure([choice(4, 2, -1.0, -2.0, -3.0)])
    with pytest.raises(DataError, match="example 5: a score is not a number"):
        set_metric("roc_auc").measure([choice(5, 1, -1.0, math.nan)])
