"""The best of several scores, and all that tie with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kosmos.errors import DataError

# Log-probabilities closer than this are a tie: equal candidates differ by rounding.
TIE_TOLERANCE = 1e-5


def tied_best(scores: Sequence[float]) -> list[int]:
    """Indices of the best score and of those that tie with it. Raises DataError when one is not a number."""
    if any(math.isnan(score) for score in scores):
        raise DataError("a candidate's log-probability is not a number: the weights are damaged or have diverged")
    top = max(scores)
    return [index for index, score in enumerate(scores) if score == top or top - score <= TIE_TOLERANCE]
