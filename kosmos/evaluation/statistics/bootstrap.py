"""Bootstrap intervals: for metrics that are no mean of values in [0, 1] (CIDEr, BLEU, ROC AUC, F1).

Examples, or clusters of them, are drawn anew with replacement (B. Efron, 1979); the middle 95 % of the values is the
interval. Draw number r comes from a counter-based generator at (seed, r): the same on any machine, for any number of
draws, and the examples are taken in the order of their ids, so that the order of answering does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kosmos.errors import UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured
from kosmos.evaluation.statistics.intervals import Interval

NUM_DRAWS = 1000


def bootstrap_interval(
    answered: Sequence[Answered],
    measured: Measured,
    *,
    seed: int = 0,
    num_draws: int = NUM_DRAWS,
    confidence: float = 0.95,
) -> Interval:
    """Interval of a metric's value from what its `measure(answered)` gave. Clusters come from the examples.

    Document frequencies of CIDEr are kept as they are: the draws vary the pictures, not the reference set. Raises
    UsageError for a metric that gives neither values nor a weighted form, and for one that was not run.
    """
    if measured.not_run:
        raise UsageError(f"no interval of a metric that was not run: {measured.not_run}")
    statistic = _weighted_mean(measured.values) if measured.values is not None else measured.weighted
    if statistic is None:
        raise UsageError("a bootstrap interval needs a metric with one value per example or a weighted form")
    order = sorted(range(len(answered)), key=lambda index: answered[index].id)
    clusters = [answered[index].cluster or f"\0{answered[index].id}" for index in order]
    drawn = bootstrap_values(statistic, order, clusters, seed=seed, num_draws=num_draws)
    usable = drawn[np.isfinite(drawn)]  # a draw may hold one class only
    if len(usable) == 0:
        raise UsageError("a bootstrap interval needs draws with a value: there are too few examples")
    tail = (1 - confidence) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    clustered = len(set(clusters)) < len(clusters)
    return Interval(float(low), float(high), "bootstrap_clustered" if clustered else "bootstrap")


def _weighted_mean(values: Sequence[float]) -> Callable[[np.ndarray], float]:
    array = np.asarray(values, dtype=np.float64)
    return lambda weights: float(weights @ array / weights.sum())


def bootstrap_values(
    statistic: Callable[[np.ndarray], float],
    order: Sequence[int],
    clusters: Sequence[str],
    *,
    seed: int = 0,
    num_draws: int = NUM_DRAWS,
) -> np.ndarray:
    """The statistic of `num_draws` draws, float64 [num_draws].

    `order` lists the examples' places in a fixed order and `clusters` their keys in that order; `statistic` gets how
    often each example counts, int64 [examples], by place.
    """
    if len(order) == 0:
        raise UsageError("a bootstrap needs at least one example")
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(key, len(numbers)) for key in clusters], dtype=np.int64)
    places = np.asarray(order, dtype=np.int64)
    drawn = np.empty(num_draws)
    for draw in range(num_draws):
        counts = draw_counts(len(numbers), seed, draw)
        weights = np.empty(len(places), dtype=np.int64)
        weights[places] = counts[group]
        drawn[draw] = statistic(weights)
    return drawn


def draw_counts(number: int, seed: int, draw: int) -> np.ndarray:
    """How often each of `number` things is drawn in draw number `draw`, int64 [number], summing to `number`."""
    generator = np.random.Generator(np.random.Philox(key=[seed, draw]))
    return np.bincount(generator.integers(number, size=number), minlength=number)
