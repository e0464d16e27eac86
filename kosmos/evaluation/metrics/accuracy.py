"""Accuracy of a choice, and the mean F1 of its classes; ties count by expectation, never by who came first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric


def best_candidates(scores: Sequence[float], ties: int = 1) -> list[int]:
    """Indices of the candidates that share the highest score; the best `ties` ones where the caller counted so many.

    Raises DataError for a score that is not a number.
    """
    if any(math.isnan(score) for score in scores):
        raise DataError("a candidate's score is not a number: the model gave NaN")
    threshold = sorted(scores)[-min(max(ties, 1), len(scores))]
    return [index for index, score in enumerate(scores) if score >= threshold]


def choice_accuracy(label: int, scores: Sequence[float], ties: int = 1) -> float:
    """1 / (candidates that share the best score) when the right one is among them, else 0."""
    best = best_candidates(scores, ties)
    return 1.0 / len(best) if label in best else 0.0


def f1_macro(confusion: np.ndarray) -> float:
    """Mean over classes of F1, from how often class i (row) was answered by j (column), float64 [classes, classes].

    A class that neither occurs nor is answered has an F1 of 0.
    """
    right = np.diag(confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(np.divide(2 * right, total, out=np.zeros(len(right)), where=total > 0)))


def _scored(answered: Sequence[Answered], metric: str) -> None:
    if not answered:
        raise UsageError(f"{metric} needs at least one example")
    for item in answered:
        if item.label is None or not 0 <= item.label < len(item.scores):
            raise DataError(f"example {item.id}: {metric} needs a label and one score for each candidate")


def _measure_accuracy(answered: Sequence[Answered]) -> Measured:
    _scored(answered, "accuracy")
    values = tuple(choice_accuracy(item.label or 0, item.scores, item.ties) for item in answered)
    ties = sum(len(best_candidates(item.scores, item.ties)) > 1 for item in answered)
    return Measured(math.fsum(values) / len(values), values, {"ties": float(ties)})


def _measure_f1_macro(answered: Sequence[Answered]) -> Measured:
    _scored(answered, "f1_macro")
    num_classes = max(len(item.scores) for item in answered)
    answers = np.zeros((len(answered), num_classes))
    for row, item in zip(answers, answered):
        best = best_candidates(item.scores, item.ties)
        row[best] = 1.0 / len(best)
    truth = np.eye(num_classes)[[item.label or 0 for item in answered]]

    def weighted(weights: np.ndarray) -> float:
        return f1_macro((truth * weights[:, None]).T @ answers)

    return Measured(weighted(np.ones(len(answered))), weighted=weighted)


ACCURACY = SetMetric("accuracy", _measure_accuracy)
F1_MACRO = SetMetric("f1_macro", _measure_f1_macro)
