"""Metrics: prediction and accepted answers -> a value in [0, 1] per item. The score is their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kosmos.errors import UsageError, nearest
from kosmos.evaluation.metrics.exact_match import exact_match
from kosmos.evaluation.metrics.normalization import normalize
from kosmos.evaluation.metrics.token_f1 import token_f1


@dataclass(frozen=True)
class Metric:
    """`value(prediction, golds)` in [0, 1], after `normalize` on both sides; the best gold counts."""

    name: str
    value: Callable[[str, Sequence[str]], float]
    normalize: Callable[[str], str] = normalize


_METRICS = {metric.name: metric for metric in (Metric("exact_match", exact_match), Metric("token_f1", token_f1))}


def get_metric(name: str) -> Metric:
    """The metric called `name`. Raises UsageError for an unknown one."""
    if name not in _METRICS:
        raise UsageError(f"no metric '{name}'{nearest(name, _METRICS)}; there are {', '.join(sorted(_METRICS))}")
    return _METRICS[name]


def register_metric(metric: Metric) -> None:
    """Add a metric; registering a name again replaces it."""
    _METRICS[metric.name] = metric
