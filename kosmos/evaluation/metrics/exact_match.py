"""Exact match: the whole answer, or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from kosmos.evaluation.metrics.normalization import normalize


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1.0 when the normalised prediction equals one of the normalised `golds`, else 0.0."""
    return float(normalize(prediction) in {normalize(gold) for gold in golds})
