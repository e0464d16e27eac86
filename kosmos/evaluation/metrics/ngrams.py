"""N-gram counts of many sentences at once, as arrays: what CIDEr and BLEU are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np


@dataclass(frozen=True)
class NGramCounts:
    """Counts of the n-grams of one order: row i says that sentence `sentence[i]` has n-gram `gram[i]` `count[i]` times.

    Rows are sorted by sentence, then n-gram; n-grams are numbered in the order of their words, below `num_grams`. So
    sums over rows do not depend on the order of the sentences. Each array: int64 [rows].
    """

    sentence: np.ndarray
    gram: np.ndarray
    count: np.ndarray
    num_grams: int


def count_ngrams(sentences: Sequence[Sequence[str]], max_order: int) -> list[NGramCounts]:
    """Counts for n = 1 .. max_order over the same sentences, numbered as given."""
    lengths = np.fromiter((len(words) for words in sentences), dtype=np.int64, count=len(sentences))
    vocabulary = {word: number for number, word in enumerate(sorted(set(chain.from_iterable(sentences))))}
    tokens = np.fromiter(
        map(vocabulary.__getitem__, chain.from_iterable(sentences)), dtype=np.int64, count=int(lengths.sum())
    )
    sentence = np.repeat(np.arange(len(sentences)), lengths)
    # How many words stand from here to the end of the sentence, this one included.
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(tokens))

    counts = []
    start = np.arange(len(tokens))
    gram, num_grams = tokens, len(vocabulary)
    for order in range(1, max_order + 1):
        if order > 1:
            keep = left[start] >= order
            start, gram = start[keep], gram[keep]
            distinct, gram = np.unique(gram * len(vocabulary) + tokens[start + order - 1], return_inverse=True)
            num_grams = len(distinct)
        rows, count = np.unique(sentence[start] * max(num_grams, 1) + gram, return_counts=True)
        counts.append(NGramCounts(rows // max(num_grams, 1), rows % max(num_grams, 1), count, num_grams))
    return counts
