"""The bird test: right when the text names the right one of two categories, and not the other.

A category is named by any word that only its name has ("Downy" for the downy woodpecker, not "woodpecker"), after
lower-casing and dropping articles; a hyphen parts words. The paper leaves the rule open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric

_WORD = re.compile(r"[^\W_]+")
_ARTICLES = frozenset(("a", "an", "the"))


def own_words(names: Sequence[str]) -> list[frozenset[str]]:
    """For each name the words that no other one has. Raises DataError for a name without any."""
    split = [_words(name) for name in names]
    own = [
        words.difference(*(other for at, other in enumerate(split) if at != index)) for index, words in enumerate(split)
    ]
    for name, words in zip(names, own):
        if not words:
            raise DataError(f"category '{name}' has no word that the other one lacks: {', '.join(names)}")
    return own


def category_name(prediction: str, names: Sequence[str], label: int) -> bool:
    """True when the prediction names category `label` of `names` and no other."""
    said = _words(prediction)
    named = [index for index, own in enumerate(own_words(names)) if own & said]
    return named == [label]


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _ARTICLES


def _measure(answered: Sequence[Answered]) -> Measured:
    if not answered:
        raise UsageError("category_name needs at least one example")
    values = []
    for item in answered:
        names = item.fields.get("categories")
        if not names or item.label is None or not 0 <= item.label < len(names):
            raise DataError(f"example {item.id}: category_name needs fields 'categories' (the names) and 'label'")
        values.append(float(category_name(item.prediction, names, item.label)))
    return Measured(math.fsum(values) / len(values), tuple(values))


CATEGORY_NAME = SetMetric("category_name", _measure)
