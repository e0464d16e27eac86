from __future__ import annotations

import math
import random

import numpy as np
import pytest

from kosmos.errors import UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured, not_run, set_metric
from kosmos.evaluation.running.measures import metric_entry
from kosmos.evaluation.statistics.bootstrap import bootstrap_interval, bootstrap_values, draw_counts


def examples(number: int, clusters: int = 0) -> list[Answered]:
    rng = np.random.default_rng(number)
    labels = rng.integers(2, size=number)
    scores = rng.normal(size=(number, 2)) + 0.5 * labels[:, None] * [-1, 1]
    return [
        Answered(
            f"{index:04d}",
            f"a {'red' if label else 'big'} dog on a bed",
            (f"a {'red' if index % 2 else 'big'} dog on a bed", f"dog number {index % 7} on the bed"),
            label=int(label),
            scores=(float(row[0]), float(row[1])),
            cluster=f"cluster {index % clusters}" if clusters else "",
        )
        for index, (label, row) in enumerate(zip(labels, scores))
    ]


def test_draws_are_fixed_by_seed_and_number() -> None:
    # Pinned: every machine must give these.
    assert draw_counts(6, seed=0, draw=0).tolist() == [3, 1, 1, 1, 0, 0]
    assert draw_counts(1000, 0, 1).tolist() != draw_counts(1000, 0, 2).tolist() != draw_counts(1000, 1, 1).tolist()
    assert all(draw_counts(7, 3, draw).sum() == 7 for draw in range(20))
    few = bootstrap_values(lambda weights: float(weights @ np.arange(5)), range(5), list("abcde"), num_draws=10)
    more = bootstrap_values(lambda weights: float(weights @ np.arange(5)), range(5), list("abcde"), num_draws=30)
    assert few.tolist() == more[:10].tolist()


@pytest.mark.parametrize("name", ["cider", "bleu4", "roc_auc", "f1_macro", "rouge_l", "accuracy"])
def test_intervals_hold_the_value_whatever_the_order(name: str) -> None:
    given = examples(60)
    measured = set_metric(name).measure(given)
    found = bootstrap_interval(given, measured, num_draws=200)
    assert found.low < measured.value < found.high
    assert found.method == "bootstrap"
    shuffled = given[:]
    random.Random(0).shuffle(shuffled)
    again = bootstrap_interval(shuffled, set_metric(name).measure(shuffled), num_draws=200)
    assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-12)
    other = bootstrap_interval(given, measured, num_draws=200, seed=1)
    assert (other.low, other.high) != (found.low, found.high)


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    given = [Answered(str(index), "") for index in range(400)]
    found = bootstrap_interval(given, Measured(float(values.mean()), tuple(values.tolist())), num_draws=2000)
    error = values.std() / math.sqrt(400)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_a_weighted_form_is_the_metric_of_the_drawn_examples() -> None:
    given = examples(40)
    weights = draw_counts(40, seed=5, draw=0)
    drawn = [item for item, count in zip(given, weights) for _ in range(count)]
    for name in ("bleu1", "bleu4", "roc_auc", "f1_macro"):
        weighted = set_metric(name).measure(given).weighted
        assert weighted is not None
        assert weighted(weights) == pytest.approx(set_metric(name).measure(drawn).value, abs=1e-12)


def test_clusters_are_drawn_whole() -> None:
    values = np.repeat(np.random.default_rng(0).integers(2, size=20), 10).astype(float)
    alone = [Answered(f"{index:03d}", "") for index in range(200)]
    together = [Answered(f"{index:03d}", "", cluster=f"picture {index // 10}") for index in range(200)]
    measured = Measured(float(values.mean()), tuple(values.tolist()))
    narrow, wide = bootstrap_interval(alone, measured), bootstrap_interval(together, measured)
    assert wide.method == "bootstrap_clustered"
    # Ten copies of each: errors are sqrt(10) times as large.
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(math.sqrt(10), rel=0.15)


def test_what_has_no_interval_is_refused() -> None:
    given = examples(4)
    with pytest.raises(UsageError, match="was not run: no Java"):
        bootstrap_interval(given, not_run("no Java"))
    with pytest.raises(UsageError, match="one value per example or a weighted form"):
        bootstrap_interval(given, Measured(0.5))
    with pytest.raises(UsageError, match="too few examples"):
        bootstrap_interval(given, Measured(0.5, weighted=lambda weights: math.nan))
    with pytest.raises(UsageError, match="at least one example"):
        bootstrap_values(lambda weights: 0.0, [], [])


def test_an_entry_of_metrics_json_says_how() -> None:
    given = examples(30)
    assert metric_entry(set_metric("accuracy"), given)["method"] == "wilson"
    for name in ("cider", "bleu2", "roc_auc", "f1_macro"):
        entry = metric_entry(set_metric(name), given)
        assert entry["method"] == "bootstrap"
        assert entry["interval"][0] < entry["value"] < entry["interval"][1]
    one_class = [item for item in given if item.label]
    assert metric_entry(set_metric("roc_auc"), one_class) == {
        "value": None,
        "not_run": "ROC AUC needs examples of both classes; these are all of one: take more examples",
    }
