"""Exact match and F1 of WebSRC: SQuAD's normalisation, the best of the accepted answers."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric
from kosmos.evaluation.metrics.token_f1 import bag_f1

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalize_web_answer(text: str) -> str:
    """Lower case, no punctuation (nothing in its place), no articles, single spaces."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def web_exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 when the normalised prediction is one of the normalised answers, else 0.0."""
    return float(normalize_web_answer(prediction) in {normalize_web_answer(answer) for answer in answers})


def web_f1(prediction: str, answers: Sequence[str]) -> float:
    """F1 over the bag of normalised words, in [0, 1], against the best answer; two empty texts agree fully."""
    words = Counter(normalize_web_answer(prediction).split())
    return max(bag_f1(words, Counter(normalize_web_answer(answer).split())) for answer in answers)


def _metric(name: str, value: Callable[[str, Sequence[str]], float]) -> SetMetric:
    def measure(answered: Sequence[Answered]) -> Measured:
        if not answered:
            raise UsageError(f"{name} needs at least one answer")
        for item in answered:
            if not item.answers:
                raise DataError(f"question {item.id} has no accepted answer: this split cannot be scored here")
        values = tuple(value(item.prediction, item.answers) for item in answered)
        return Measured(math.fsum(values) / len(values), values)

    return SetMetric(name, measure)


WEB_EM = _metric("web_em", lambda prediction, answers: web_exact_match(prediction, answers))
WEB_F1 = _metric("web_f1", lambda prediction, answers: web_f1(prediction, answers))
