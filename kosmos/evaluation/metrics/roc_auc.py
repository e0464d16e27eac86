"""ROC AUC: how likely a hateful picture scores above a harmless one; ties count half."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kosmos.errors import DataError
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric, not_run


def roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve of labels (0 or 1) and scores of any range, [n] each; NaN when a class has no weight.

    Weights are whole numbers: how often each item counts. Pairs are counted in whole and half numbers, so no score is
    squashed and nothing is rounded before the division.
    """
    counts = np.ones(len(labels), dtype=np.int64) if weights is None else weights.astype(np.int64)
    _, level = np.unique(scores, return_inverse=True)
    positive = np.bincount(level, weights=counts * (labels == 1)).astype(np.int64)
    negative = np.bincount(level, weights=counts * (labels == 0)).astype(np.int64)
    below = np.cumsum(negative) - negative
    half_pairs = int((positive * (2 * below + negative)).sum())
    pairs = 2 * int(positive.sum()) * int(negative.sum())
    return half_pairs / pairs if pairs else float("nan")


def _measure(answered: Sequence[Answered]) -> Measured:
    labels = np.zeros(len(answered), dtype=np.int64)
    scores = np.zeros(len(answered), dtype=np.float64)
    for index, item in enumerate(answered):
        if item.label not in (0, 1) or len(item.scores) != 2:
            raise DataError(f"example {item.id}: ROC AUC needs a label of 0 or 1 and the scores of both answers")
        labels[index] = item.label
        # The log-odds of the second answer: in the order of its softmax, without running into 0 and 1.
        scores[index] = np.float64(item.scores[1]) - np.float64(item.scores[0])
        if np.isnan(scores[index]):
            raise DataError(f"example {item.id}: a score is not a number")
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        return not_run("ROC AUC needs examples of both classes; these are all of one: take more examples")
    return Measured(
        roc_auc(labels, scores),
        details={"positives": float(positives), "negatives": float(len(labels) - positives)},
        weighted=lambda weights: roc_auc(labels, scores, weights),
    )


ROC_AUC = SetMetric("roc_auc", _measure)
