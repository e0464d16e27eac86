from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from kosmos.errors import UsageError
from kosmos.evaluation.comparisons.paired import holm, mcnemar, paired_test


def samples(values: list[float], clusters: list[str] | None = None, metric: str = "right") -> list[dict[str, Any]]:
    keys = clusters or [""] * len(values)
    return [{"id": f"{n:03}", "cluster": key, "values": {metric: v}} for n, (v, key) in enumerate(zip(values, keys))]


@pytest.mark.parametrize(("only_before", "only_after"), [(0, 0), (0, 1), (0, 6), (3, 9), (9, 3), (10, 10), (40, 61)])
def test_mcnemar_is_the_binomial_test(only_before: int, only_after: int) -> None:
    total = only_before + only_after
    expected = binomtest(only_before, total, 0.5).pvalue if total else 1.0
    assert mcnemar(only_before, only_after) == pytest.approx(expected, rel=1e-12)
    closed = sum(math.comb(total, k) for k in range(min(only_before, only_after) + 1)) / 2**total
    assert mcnemar(only_before, only_after) == pytest.approx(min(1.0, 2 * closed), rel=1e-12)


def test_mcnemar_of_many_items() -> None:
    assert mcnemar(40_000, 40_600) == pytest.approx(binomtest(40_000, 80_600, 0.5).pvalue, rel=1e-9)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_right_or_wrong() -> None:
    before, after = [1.0] * 10 + [0.0] * 10, [1.0] * 9 + [0.0] + [1.0] * 7 + [0.0] * 3
    test = paired_test(samples(before), samples(after), "right")
    assert (test.before, test.after) == (0.5, 0.8) and test.difference == pytest.approx(0.3)
    assert (test.only_before, test.only_after, test.test) == (1, 7, "McNemar, exact")
    assert test.p == pytest.approx(2 * (1 + 8) / 2**8)
    assert test.interval[0] < 0.3 < test.interval[1]


def test_nothing_differs() -> None:
    test = paired_test(samples([1.0, 0.0]), samples([1.0, 0.0]), "right")
    assert (test.p, test.interval, test.test) == (1.0, (0.0, 0.0), "no item differs")


def test_items_of_one_picture_are_drawn_together() -> None:
    """Twenty items in two clusters say as little as two items do."""
    before, after = [0.0] * 20, [1.0] * 10 + [0.0] * 10
    alone = paired_test(samples(before), samples(after), "right")
    assert alone.test == "McNemar, exact" and alone.p == pytest.approx(2 / 2**10)
    clusters = ["a"] * 10 + ["b"] * 10
    together = paired_test(samples(before, clusters), samples(after, clusters), "right")
    assert together.test == "paired bootstrap of clusters"
    # One cluster differs: that is heads or tails. Of two clusters drawn from two, neither is it in a quarter.
    assert (together.p, together.interval) == (1.0, (0.0, 1.0))
    three = [*["a"] * 5, *["b"] * 3, *["c"] * 2, *["d"] * 10]
    assert paired_test(samples(before, three), samples(after, three), "right").p == 0.25


def test_values_that_are_no_right_or_wrong() -> None:
    generator = np.random.default_rng(3)
    before = generator.normal(5, 1, 200)
    after = before + generator.normal(0.3, 0.5, 200)
    test = paired_test(samples(list(before), metric="cider"), samples(list(after), metric="cider_subset"), "cider")
    difference = after - before
    error = difference.std(ddof=1) / math.sqrt(200)
    assert test.difference == pytest.approx(difference.mean())
    assert test.interval == pytest.approx(
        (difference.mean() - 1.96 * error, difference.mean() + 1.96 * error), abs=0.01
    )
    assert test.p == pytest.approx(2 / 10_001) and test.test == "paired bootstrap"
    # The order of the items cannot matter, and neither can who comes first.
    swapped = paired_test(
        samples(list(after), metric="cider")[::-1], samples(list(before), metric="cider")[::-1], "cider"
    )
    assert swapped.interval == pytest.approx((-test.interval[1], -test.interval[0]), abs=1e-12)


def scored(margins: list[float]) -> list[dict[str, Any]]:
    return [
        {"id": f"{n:03}", "cluster": "", "label": n % 2, "answers": [], "candidates": ["no", "yes"], "prediction": "",
         "scores": {"per_token": [0.0, margin]}}
        for n, margin in enumerate(margins)
    ]  # fmt: skip


def test_a_metric_of_the_whole_set() -> None:
    blind = scored([0.0] * 40)
    seeing = scored([1.0 if n % 2 else -1.0 for n in range(40)])
    test = paired_test(blind, seeing, "roc_auc", "per_token")
    assert (test.before, test.after, test.difference) == (0.5, 1.0, 0.5)
    assert test.interval == (0.5, 0.5) and test.p == pytest.approx(2 / 10_001, rel=0.2)
    assert paired_test(blind, blind, "roc_auc", "per_token").p == 1.0


def test_different_items_are_refused() -> None:
    with pytest.raises(UsageError, match="the same items: 2 before, 1 after"):
        paired_test(samples([1.0, 0.0]), samples([1.0]), "right")
