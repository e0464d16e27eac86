"""Answered: what a metric gets for one example, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kosmos.errors import UsageError, nearest


@dataclass(frozen=True)
class Answered:
    """One example with the model's answer.

    prediction  generated text, or the chosen candidate's text
    answers     accepted answers or reference captions
    label       index of the right candidate; None where there are no candidates
    scores      what the candidates were compared by, higher is better; empty when generated
    ties        how many candidates share the best score: an accuracy counts 1 / ties for one of them
    """

    id: str
    prediction: str
    answers: tuple[str, ...] = ()
    label: int | None = None
    scores: tuple[float, ...] = ()
    ties: int = 1
    cluster: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A metric's value over a set. `values`: one per example when the metric is their mean, else None (AUC, BLEU).

    weighted  where `values` is None: how often each example counts, int64 [examples] -> the value (bootstrap)
    not_run   why there is no value, and what to do, in one line; `value` is then NaN
    """

    value: float
    values: tuple[float, ...] | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    weighted: Callable[[np.ndarray], float] | None = field(default=None, compare=False, repr=False)
    not_run: str = ""


def not_run(reason: str) -> Measured:
    """The result of a metric that could not be computed: `reason` says why, and what to do."""
    return Measured(math.nan, not_run=reason)


@dataclass(frozen=True)
class SetMetric:
    """A metric over a whole set. `percent`: printed times 100 (accuracies); CIDEr is printed times 100 too.

    bounded  every example's value lies in [0, 1], so that a Wilson or t interval fits; else it is bootstrapped
    subset   for a metric that depends on the whole set (CIDEr's document frequencies): the references of every example
             of the split -> the metric for a part of it, under a name of its own; None where a part needs nothing
    """

    name: str
    measure: Callable[[Sequence[Answered]], Measured]
    percent: bool = True
    bounded: bool = True
    subset: Callable[[Sequence[Sequence[str]]], SetMetric] | None = None


_METRICS: dict[str, SetMetric] = {}


def register_set_metric(metric: SetMetric) -> None:
    """Add a metric; registering a name again replaces it."""
    _METRICS[metric.name] = metric


def set_metric(name: str) -> SetMetric:
    """The metric called `name`. Raises UsageError for an unknown one."""
    from kosmos.evaluation.metrics import built_in  # noqa: F401  (registers the built-in ones)

    if name not in _METRICS:
        raise UsageError(f"no metric '{name}'{nearest(name, _METRICS)}; there are {', '.join(sorted(_METRICS))}")
    return _METRICS[name]
