"""BLEU 1 to 4 over a whole set of captions (K. Papineni et al., 2002), as the official caption scorer computes it.

Clipped n-gram counts and lengths are summed over the set; the reference nearest in length counts, the shorter of two
equally near.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np

from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric
from kosmos.evaluation.metrics.captions import tokenize_captions
from kosmos.evaluation.metrics.ngrams import count_ngrams
from kosmos.evaluation.metrics.ptb_tokenizer import words

MAX_ORDER = 4
# Of the official scorer: no division by zero, and no n-gram right out of none is not 1.
_SMALL = 1e-9
_TINY = 1e-15


def bleu_statistics(captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """What BLEU is computed from, one row a picture: int64 [pictures, 2 + 2 * MAX_ORDER].

    Columns: length of the caption, length of the nearest reference, right n-grams for n = 1 .. 4, n-grams for
    n = 1 .. 4. Rows of any sample of pictures may be summed (bootstrap).
    """
    sentences = [words(text) for text in chain(captions, *references)]
    num_captions = len(captions)
    num_references = np.fromiter(map(len, references), dtype=np.int64, count=num_captions)
    picture = np.concatenate([np.arange(num_captions), np.repeat(np.arange(num_captions), num_references)])
    table = np.zeros((num_captions, 2 + 2 * MAX_ORDER), dtype=np.int64)
    table[:, 0] = [len(sentence) for sentence in sentences[:num_captions]]
    start = num_captions
    for index, number in enumerate(num_references):
        lengths = [len(sentence) for sentence in sentences[start : start + number]]
        table[index, 1] = min(lengths, key=lambda length: (abs(length - table[index, 0]), length))
        start += number
    for order, counts in enumerate(count_ngrams(sentences, MAX_ORDER), start=1):
        table[:, 1 + MAX_ORDER + order] = np.maximum(table[:, 0] - order + 1, 0)
        is_caption = counts.sentence < num_captions
        key = picture[counts.sentence] * max(counts.num_grams, 1) + counts.gram
        caption_keys = key[is_caption]
        if not len(caption_keys):
            continue
        at = np.minimum(np.searchsorted(caption_keys, key[~is_caption]), len(caption_keys) - 1)
        found = caption_keys[at] == key[~is_caption]
        # The most often that any one reference has the n-gram.
        most = np.zeros(len(caption_keys), dtype=np.int64)
        np.maximum.at(most, at[found], counts.count[~is_caption][found])
        right = np.minimum(most, counts.count[is_caption])
        table[:, 1 + order] = np.bincount(counts.sentence[is_caption], weights=right, minlength=num_captions)
    return table


def bleu(statistics: np.ndarray) -> list[float]:
    """BLEU 1 to 4 in [0, 1] of the pictures whose rows of `bleu_statistics` are given, [rows, columns] or their sum."""
    sums = statistics.sum(axis=0) if statistics.ndim == 2 else statistics
    length, reference_length = int(sums[0]), int(sums[1])
    ratio = (length + _TINY) / (reference_length + _SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for order in range(1, MAX_ORDER + 1):
        right, total = int(sums[1 + order]), int(sums[1 + MAX_ORDER + order])
        product *= (right + _TINY) / (total + _SMALL)
        scores.append(product ** (1 / order) * penalty)
    return scores


def _measure(answered: Sequence[Answered], order: int) -> Measured:
    statistics = bleu_statistics(*tokenize_captions(answered))
    lengths = {"length": float(statistics[:, 0].sum()), "reference_length": float(statistics[:, 1].sum())}
    return Measured(
        bleu(statistics)[order - 1], details=lengths, weighted=lambda weights: bleu(weights @ statistics)[order - 1]
    )


def _metric(order: int) -> SetMetric:
    return SetMetric(f"bleu{order}", lambda answered: _measure(answered, order))


BLEU = tuple(_metric(order) for order in range(1, MAX_ORDER + 1))
