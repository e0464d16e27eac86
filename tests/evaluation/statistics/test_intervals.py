from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kosmos.errors import UsageError
from kosmos.evaluation.statistics.intervals import (
    Interval,
    above,
    interval,
    mean,
    paired_difference,
    standard_error,
    wilson,
)

scores = st.lists(st.floats(0, 1), min_size=1, max_size=60)
outcomes = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=80)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(right: int, n: int, low: float, high: float) -> None:
    """Table I of Newcombe, Statistics in Medicine 17 (1998), method 3."""
    bound = wilson(right / n, n)
    assert (round(bound.low, 4), round(bound.high, 4)) == (low, high)


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilson_equals_scipys(right: int, n: int) -> None:
    right = min(right, n)
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    bound = wilson(right / n, n)
    assert bound.low == pytest.approx(expected.low, abs=1e-12)
    assert bound.high == pytest.approx(expected.high, abs=1e-12)


@given(outcomes)
def test_right_or_wrong_values_get_wilsons_interval(values: list[float]) -> None:
    assert interval(values) == wilson(mean(values), len(values))


def test_fractional_values_get_students_t() -> None:
    values = [0.1, 0.5, 0.4, 0.9, 0.3, 0.65]
    low, high = stats.t.interval(0.95, 5, loc=np.mean(values), scale=stats.sem(values))
    bound = interval(values)
    assert bound.method == "t"
    assert [bound.low, bound.high] == pytest.approx([low, high], abs=1e-12)


def test_the_clustered_error_is_the_sandwich_of_a_regression_on_a_constant() -> None:
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 7, 40)
    values = np.clip(0.5 + 0.2 * rng.normal(size=7)[keys] + 0.1 * rng.normal(size=40), 0, 1)
    design = np.ones((40, 1))
    residuals = values - values.mean()
    bread = np.linalg.inv(design.T @ design)
    meat = sum(
        np.outer(s, s) for s in (design[keys == k].T @ residuals[keys == k] for k in np.unique(keys))
    )  # (Liang and Zeger, 1986)
    groups = len(np.unique(keys))
    expected = math.sqrt((bread @ meat @ bread)[0, 0] * groups / (groups - 1))
    assert standard_error(values.tolist(), [str(k) for k in keys]) == pytest.approx(expected, rel=1e-12)


@given(scores)
def test_items_in_clusters_of_one_change_nothing(values: list[float]) -> None:
    keys = [f"item-{index}" for index in range(len(values))]
    assert interval(values, keys) == interval(values) == interval(values, [""] * len(values))


def test_asking_everything_twice_does_not_narrow_the_interval() -> None:
    values = [1.0] * 30 + [0.0] * 30
    keys = [f"picture-{index}" for index in range(60)]
    once = interval(values)
    naive = interval(values * 2)
    twice = interval(values * 2, keys * 2)
    assert twice.method == "wilson_clustered"
    assert naive.high - naive.low < 0.75 * (once.high - once.low)
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.01)


def test_all_right_in_few_clusters_is_not_taken_for_certainty() -> None:
    bound = interval([1.0] * 40, ["a"] * 20 + ["b"] * 20)
    assert bound.high == 1.0
    assert bound.low == pytest.approx(wilson(1.0, 2).low)


@given(scores, st.randoms())
def test_an_interval_holds_its_score_and_ignores_the_order(values: list[float], random: object) -> None:
    bound = interval(values)
    assert 0.0 <= bound.low <= mean(values) + 1e-12
    assert mean(values) - 1e-12 <= bound.high <= 1.0
    shuffled = sorted(values)
    assert interval(shuffled).low == pytest.approx(bound.low, abs=1e-9)
    assert mean(shuffled) == mean(values)


@given(outcomes)
def test_more_of_the_same_narrows_the_interval(values: list[float]) -> None:
    once, often = interval(values), interval(values * 4)
    assert often.high - often.low < once.high - once.low


def test_wilson_covers_what_it_claims() -> None:
    rng = np.random.default_rng(0)
    for truth in (0.05, 0.3, 0.9):
        counts = rng.binomial(400, truth, 4000)
        covered = np.mean([truth in wilson(count / 400, 400) for count in counts])
        assert 0.935 < covered < 0.965


def test_above() -> None:
    low, high, touching = Interval(0.1, 0.2, ""), Interval(0.3, 0.4, ""), Interval(0.2, 0.25, "")
    assert above(high, low) and not above(low, high) and not above(touching, low)


@pytest.mark.parametrize("values", [[], [0.5, 1.5], [-0.1]])
def test_values_outside_the_unit_interval_are_refused(values: list[float]) -> None:
    with pytest.raises(UsageError):
        interval(values)


def test_cluster_keys_must_match_the_items() -> None:
    with pytest.raises(UsageError, match="2 cluster keys for 3 items"):
        interval([0.0, 1.0, 1.0], ["a", "b"])


def test_a_paired_difference_is_a_t_interval_of_the_items_differences() -> None:
    rng = np.random.default_rng(4)
    before, after = rng.random(40).tolist(), rng.random(40).tolist()
    differences = np.subtract(after, before)
    low, high = stats.t.interval(0.95, 39, loc=differences.mean(), scale=stats.sem(differences))
    middle, bound = paired_difference(before, after)
    assert middle == pytest.approx(differences.mean()) and bound.method == "paired_t"
    assert [bound.low, bound.high] == pytest.approx([low, high], abs=1e-12)


def test_no_difference_is_not_certain() -> None:
    middle, bound = paired_difference([1.0] * 50, [1.0] * 50)
    assert middle == 0.0 and -0.05 < bound.low < -0.01 and bound.high == -bound.low
    assert paired_difference([0.0], [1.0]) == (1.0, Interval(-1.0, 1.0, "paired_t"))
    with pytest.raises(UsageError, match="same items"):
        paired_difference([0.0], [1.0, 0.0])


def test_items_of_a_cluster_move_together() -> None:
    before, after, keys = [0.0] * 20, [1.0] * 10 + [0.0] * 10, ["a"] * 10 + ["b"] * 5 + ["c"] * 5
    alone, together = paired_difference(before, after)[1], paired_difference(before, after, keys)[1]
    assert together.high - together.low > alone.high - alone.low and together.method == "paired_t_clustered"
