"""Paired tests: two sets of answers to the same questions, item by item.

Right-or-wrong values of independent items: McNemar's exact test (Q. McNemar, 1947): of the items that only one side
has right, each is as likely to be either's. Everything else: a paired bootstrap, of clusters where items share one.
Several tests at once: Holm's correction (S. Holm, 1979).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import bdtr

from kosmos.errors import UsageError
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.running.samples import answered
from kosmos.evaluation.statistics.bootstrap import bootstrap_values
from kosmos.evaluation.statistics.intervals import mean, paired_difference

Sample = Mapping[str, Any]
Statistic = Callable[[np.ndarray], float]

# Draws times clusters that a bootstrap may cost: 10,000 draws up to 20,000 clusters, fewer of more.
_MAX_DRAWS, _MIN_DRAWS, _MAX_COST = 10_000, 1_000, 200_000_000


@dataclass(frozen=True)
class PairedTest:
    """The metric of both sides over the same items, after - before, its 95 % interval and two-sided p.

    only_before, only_after  items that only one side has right; None where values are no right or wrong
    """

    n: int
    before: float
    after: float
    interval: tuple[float, float]
    p: float
    test: str
    only_before: int | None = None
    only_after: int | None = None

    @property
    def difference(self) -> float:
        return self.after - self.before


def mcnemar(only_before: int, only_after: int) -> float:
    """Exact two-sided p of so many items that only one side has right."""
    total = only_before + only_after
    if total == 0:
        return 1.0
    return min(1.0, 2.0 * float(bdtr(min(only_before, only_after), total, 0.5)))


def holm(values: Sequence[float]) -> list[float]:
    """Corrected p-values, in the order given."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = highest
    return corrected


def paired_test(
    before: Sequence[Sample], after: Sequence[Sample], metric: str, normalization: str | None = None, seed: int = 0
) -> PairedTest:
    """Test `metric` over two lists of samples of the same items in the same order.

    `normalization`: what candidates are compared by, for metrics of the whole set (AUC, F1). Raises UsageError for a
    metric that has neither values per item nor a weighted form.
    """
    if len(before) != len(after) or not before:
        raise UsageError(f"a paired test needs the same items: {len(before)} before, {len(after)} after")
    clusters = [str(sample["cluster"]) for sample in before]
    clustered = len({key or f"\0{place}" for place, key in enumerate(clusters)}) < len(before)
    first, second = _values(before, metric), _values(after, metric)
    if first is None or second is None:
        return _of_the_set(before, after, metric, normalization, clusters, seed)
    if first == second:
        same = mean(first)
        return PairedTest(len(first), same, same, (0.0, 0.0), 1.0, "no item differs", *_discordant(first, second))
    if _is_right_or_wrong(first) and _is_right_or_wrong(second) and not clustered:
        bound = paired_difference(first, second)[1]
        counts = _discordant(first, second)
        p = mcnemar(counts[0] or 0, counts[1] or 0)
        return PairedTest(len(first), mean(first), mean(second), (bound.low, bound.high), p, "McNemar, exact", *counts)
    differences = np.asarray(second) - np.asarray(first)
    drawn = _draws(lambda weights: float(weights @ differences / weights.sum()), before, clusters, seed)
    differing = {key or f"\0{place}" for place, key in enumerate(clusters) if differences[place]}
    interval, p = _read_off(drawn, len(differing))
    test = "paired bootstrap of clusters" if clustered else "paired bootstrap"
    return PairedTest(len(first), mean(first), mean(second), interval, p, test, *_discordant(first, second))


def _of_the_set(
    before: Sequence[Sample],
    after: Sequence[Sample],
    metric: str,
    normalization: str | None,
    clusters: Sequence[str],
    seed: int,
) -> PairedTest:
    """A metric without values per item: both sides are computed on the same draws."""
    one, other = (set_metric(metric).measure(_answered(samples, normalization)) for samples in (before, after))
    for side in (one, other):
        if side.not_run:
            raise UsageError(f"{metric}: {side.not_run}")
    if _answered(before, normalization) == _answered(after, normalization):
        return PairedTest(len(before), one.value, other.value, (0.0, 0.0), 1.0, "no item differs")
    if one.weighted is None or other.weighted is None:
        raise UsageError(f"metric {metric} has neither values per item nor a weighted form: it cannot be tested")
    of_one, of_other = one.weighted, other.weighted
    drawn = _draws(lambda weights: of_other(weights) - of_one(weights), before, clusters, seed)
    interval, p = _read_off(drawn, len({key or f"\0{place}" for place, key in enumerate(clusters)}))
    return PairedTest(len(before), one.value, other.value, interval, p, "paired bootstrap")


def _draws(statistic: Statistic, samples: Sequence[Sample], clusters: Sequence[str], seed: int) -> np.ndarray:
    # In the order of the ids, so that the order of the lists cannot matter.
    order = sorted(range(len(samples)), key=lambda place: str(samples[place]["id"]))
    keys = [clusters[place] or f"\0{samples[place]['id']}" for place in order]
    number = min(_MAX_DRAWS, max(_MIN_DRAWS, _MAX_COST // len(set(keys))))
    drawn = bootstrap_values(statistic, order, keys, seed=seed, num_draws=number)
    return drawn[np.isfinite(drawn)]


def _read_off(drawn: np.ndarray, differing: int) -> tuple[tuple[float, float], float]:
    """The middle 95 % of the differences, and twice the smaller share on either side of 0.

    p is never below 2 / 2^m, with m the items (or clusters) that differ: where few do, a bootstrap is too sure, and
    that is what the same changes all in one direction would have by luck.
    """
    if len(drawn) == 0:
        raise UsageError("a paired bootstrap needs draws with a value: there are too few items")
    low, high = np.quantile(drawn, [0.025, 0.975])
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum())) + 1
    p = max(2.0 * tail / (len(drawn) + 1), 2.0 ** (1 - differing))
    return (float(low), float(high)), min(1.0, p)


def _values(samples: Sequence[Sample], metric: str) -> list[float] | None:
    """What each item has in the metric; a subset's CIDEr has the same values per item as that of the whole."""
    names = [metric, f"{metric}_subset"]
    found = [[sample["values"][n] for n in names if n in sample.get("values", {})] for sample in samples]
    return [values[0] for values in found] if all(found) else None


def _answered(samples: Sequence[Sample], normalization: str | None) -> list[Answered]:
    return [answered(sample, normalization or "per_token", {}) for sample in samples]


def _is_right_or_wrong(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)


def _discordant(before: Sequence[float], after: Sequence[float]) -> tuple[int | None, int | None]:
    if not (_is_right_or_wrong(before) and _is_right_or_wrong(after)):
        return None, None
    return sum(a > b for a, b in zip(before, after)), sum(b > a for a, b in zip(before, after))
