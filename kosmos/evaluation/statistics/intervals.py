"""Confidence intervals for scores: means of values in [0, 1], item by item or in clusters.

`interval` picks the method and names it: Wilson for right-or-wrong values, Student's t for fractional ones, both
widened by the measured design effect when items share a cluster (questions on one picture).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from kosmos.errors import UsageError


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval [low, high] of a score in [0, 1], and how it was computed."""

    low: float
    high: float
    method: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def mean(values: Sequence[float]) -> float:
    """The score: the mean value, summed exactly so that the order of items cannot matter."""
    if not values:
        raise UsageError("a score needs at least one item")
    return math.fsum(values) / len(values)


def wilson(score: float, n: float, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion `score` over `n` trials; `n` may be an effective, fractional number.

    (E. B. Wilson, 1927; without continuity correction.)
    """
    if n <= 0 or not 0.0 <= score <= 1.0:
        raise UsageError(f"Wilson's interval needs n > 0 and a score in [0, 1], not n = {n}, score = {score}")
    z = float(ndtri(0.5 + confidence / 2))
    centre = score + z * z / (2 * n)
    half = z * math.sqrt(score * (1 - score) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At 0 and 1 the bound is exact in arithmetic but not in floating point.
    low = 0.0 if score == 0.0 else max(0.0, (centre - half) / scale)
    high = 1.0 if score == 1.0 else min(1.0, (centre + half) / scale)
    return Interval(low, high, "wilson")


def standard_error(values: Sequence[float], clusters: Sequence[str] | None = None) -> float:
    """Standard error of the mean; with `clusters` (one key per item) the cluster-robust one.

    Clustered: sqrt(G / (G - 1)) * sqrt(sum over clusters of (sum of residuals)^2) / n, with G clusters; when every
    item is its own cluster this is the usual s / sqrt(n).
    """
    n = len(values)
    groups = _groups(clusters, n)
    num_groups = int(groups.max()) + 1
    if num_groups < 2:
        return 0.0
    residuals = np.asarray(values, dtype=np.float64) - mean(values)
    sums = np.bincount(groups, weights=residuals, minlength=num_groups)
    return math.sqrt(num_groups / (num_groups - 1) * math.fsum(sums * sums)) / n


def interval(values: Sequence[float], clusters: Sequence[str] | None = None, confidence: float = 0.95) -> Interval:
    """Confidence interval of the mean of `values` in [0, 1].

    Values that are all 0 or 1: Wilson; else Student's t, cut to [0, 1] (Wilson too when the values do not vary, since
    t would then claim certainty). With repeated `clusters`, Wilson's n is divided by the design effect and t takes the
    clustered standard error with G - 1 degrees of freedom.
    """
    score = mean(values)
    n = len(values)
    if min(values) < 0.0 or max(values) > 1.0:
        raise UsageError("an interval of a score needs values in [0, 1]")
    groups = _groups(clusters, n)
    num_groups = int(groups.max()) + 1
    clustered = num_groups < n
    suffix = "_clustered" if clustered else ""
    error = standard_error(values, clusters if clustered else None)
    if error == 0.0 or all(value in (0.0, 1.0) for value in values):
        bound = wilson(score, _effective_number(score, n, num_groups, error), confidence)
        return Interval(bound.low, bound.high, f"wilson{suffix}")
    half = float(stdtrit(num_groups - 1, 0.5 + confidence / 2)) * error
    return Interval(max(0.0, score - half), min(1.0, score + half), f"t{suffix}")


def paired_difference(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[str] | None = None, confidence: float = 0.95
) -> tuple[float, Interval]:
    """Mean of after - before over the same items in [0, 1], and its confidence interval in [-1, 1].

    Student's t on the items' differences, clustered as in `interval`; when they do not differ at all, as wide as one
    item's change would make it.
    """
    if len(before) != len(after):
        raise UsageError(f"a paired difference needs the same items: {len(before)} before, {len(after)} after")
    differences = [b - a for a, b in zip(before, after, strict=True)]
    middle = mean(differences)
    num_groups = int(_groups(clusters, len(differences)).max()) + 1
    clustered = num_groups < len(differences)
    if num_groups < 2:
        return middle, Interval(-1.0, 1.0, "paired_t")
    error = max(standard_error(differences, clusters if clustered else None), 1.0 / len(differences))
    half = float(stdtrit(num_groups - 1, 0.5 + confidence / 2)) * error
    bound = Interval(max(-1.0, middle - half), min(1.0, middle + half), "paired_t" + "_clustered" * clustered)
    return middle, bound


def above(a: Interval, b: Interval) -> bool:
    """True when the whole of `a` lies above the whole of `b`."""
    return a.low > b.high


def _effective_number(score: float, n: int, num_groups: int, error: float) -> float:
    """Items that would give the same standard error if they were independent: n / design effect, at most n."""
    if num_groups == n:
        return float(n)
    spread = score * (1 - score)
    if error == 0.0 or spread == 0.0:
        return float(num_groups)
    return min(float(n), spread / (error * error) + 1.0)


def _groups(clusters: Sequence[str] | None, n: int) -> np.ndarray:
    """Number the clusters in order of first appearance; an empty key is a cluster of its own. int64 [n]."""
    if n == 0:
        raise UsageError("a score needs at least one item")
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise UsageError(f"{len(clusters)} cluster keys for {n} items")
    numbers: dict[object, int] = {}
    keys = (key if key else (index,) for index, key in enumerate(clusters))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
