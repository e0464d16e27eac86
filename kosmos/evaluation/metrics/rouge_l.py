"""ROUGE-L: the longest common subsequence of a caption and its references (C.-Y. Lin, 2004), beta 1.2.

As in the official caption scorer, the best precision and the best recall may come from different references.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric
from kosmos.evaluation.metrics.captions import tokenize_captions

BETA = 1.2


def rouge_l(caption: str, references: Sequence[str]) -> float:
    """ROUGE-L in [0, 1] of one tokenized caption against its tokenized references."""
    # Split at single spaces: an empty caption is one empty word, as in the official scorer.
    candidate = caption.split(" ")
    splits = [reference.split(" ") for reference in references]
    common = [longest_common_subsequence(candidate, reference) for reference in splits]
    precision = max(common) / len(candidate)
    recall = max(length / len(reference) for length, reference in zip(common, splits))
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest sequence of words that both have in the same order.

    Bit-parallel (M. Crochemore et al., 2001): bit i of `row` is 0 where the length grows at word i of `a`.
    """
    where: dict[str, int] = {}
    for index, word in enumerate(a):
        where[word] = where.get(word, 0) | 1 << index
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        match = row & where.get(word, 0)
        row = (row + match) | (row - match)
    return len(a) - (row & full).bit_count()


def _measure(answered: Sequence[Answered]) -> Measured:
    captions, references = tokenize_captions(answered)
    values = tuple(rouge_l(caption, choices) for caption, choices in zip(captions, references))
    return Measured(math.fsum(values) / len(values), values)


ROUGE_L = SetMetric("rouge_l", _measure)
