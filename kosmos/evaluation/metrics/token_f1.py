"""Token F1: overlap of words, for answers that are sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kosmos.evaluation.metrics.normalization import normalize

_PUNCTUATION = ".,;:!?\"'()"


def token_f1(prediction: str, golds: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over the bag of words, against the best of `golds`, in [0, 1].

    Words are split at spaces, without punctuation at their ends. Two empty answers agree fully.
    """
    return max((bag_f1(_words(prediction), _words(gold)) for gold in golds), default=0.0)


def _words(text: str) -> Counter[str]:
    stripped = (word.strip(_PUNCTUATION) for word in normalize(text).split())
    return Counter(word for word in stripped if word)


def bag_f1(prediction: Counter[str], gold: Counter[str]) -> float:
    """Harmonic mean of precision and recall over two bags of words; two empty ones agree fully."""
    if not prediction or not gold:
        return float(prediction == gold)
    shared = (prediction & gold).total()
    return 2.0 * shared / (prediction.total() + gold.total())
