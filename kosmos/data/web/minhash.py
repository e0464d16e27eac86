"""MinHash signatures of texts, and groups of near-duplicates out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kosmos.data.web.settings import DuplicateRules
from kosmos.data.web.words import normal_words, run_hashes, word_hashes

_CHUNK = 1 << 16
NO_WORDS = np.uint32(0xFFFFFFFF)  # all of a signature: a text without words is nobody's duplicate


class MinHash:
    """Signatures of texts: uint32 [bands * rows]; the share of equal places estimates the Jaccard similarity."""

    def __init__(self, rules: DuplicateRules) -> None:
        self._rules = rules
        self.size = rules.bands * rules.rows
        generator = np.random.default_rng(rules.seed)
        self._factors = generator.integers(0, 1 << 63, self.size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._shifts = generator.integers(0, 1 << 63, self.size, dtype=np.uint64)

    def signature(self, text: str) -> np.ndarray:
        """The signature of a text; all NO_WORDS when it has no words. A text shorter than a run is one run."""
        hashes = word_hashes(normal_words(text))
        if not len(hashes):
            return np.full(self.size, NO_WORDS, np.uint32)
        runs = np.unique(run_hashes(hashes, min(self._rules.shingle, len(hashes))))
        lowest = np.full(self.size, NO_WORDS, np.uint32)
        for start in range(0, len(runs), 4096):  # a whole book at once would need gigabytes
            some = runs[start : start + 4096, None] * self._factors + self._shifts
            lowest = np.minimum(lowest, (some >> np.uint64(32)).min(axis=0).astype(np.uint32))
        return lowest


class Signatures:
    """Signatures of many shards, numbered on from shard to shard; arrays may be memory-mapped."""

    def __init__(self, shards: Sequence[np.ndarray]) -> None:
        self._shards = list(shards)
        self.starts = np.cumsum([0, *(len(shard) for shard in shards)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def columns(self, first: int, last: int) -> np.ndarray:
        """uint32 [documents, last - first]."""
        return np.concatenate([np.asarray(shard[:, first:last]) for shard in self._shards])

    def similarity(self, pairs: np.ndarray) -> np.ndarray:
        """Estimated Jaccard similarity, float [pairs], of documents int64 [pairs, 2]."""
        parts = []
        for start in range(0, len(pairs), _CHUNK):
            left, right = (self._rows(pairs[start : start + _CHUNK, side]) for side in (0, 1))
            parts.append((left == right).mean(axis=1))
        return np.concatenate(parts) if parts else np.empty(0)

    def _rows(self, documents: np.ndarray) -> np.ndarray:
        shard_of = np.searchsorted(self.starts, documents, side="right") - 1
        rows = np.empty((len(documents), self._shards[0].shape[1]), np.uint32)
        for shard in np.unique(shard_of):
            here = shard_of == shard
            rows[here] = self._shards[shard][documents[here] - self.starts[shard]]
        return rows


def band_pairs(signatures: Signatures, band: int, rules: DuplicateRules) -> np.ndarray:
    """int64 [pairs, 2]: near-duplicates among documents that agree in one band.

    In a group that agrees, each document is compared with the first and with the one before it.
    """
    if not len(signatures):
        return np.empty((0, 2), np.int64)
    columns = np.ascontiguousarray(signatures.columns(band * rules.rows, (band + 1) * rules.rows))
    keys = columns.view(np.dtype((np.void, columns.dtype.itemsize * rules.rows))).ravel()
    order = np.argsort(keys, kind="stable")  # stable: within a group documents stay in their order
    same = keys[order[1:]] == keys[order[:-1]]
    with_words = (columns[order[1:]] != NO_WORDS).any(axis=1)
    later = np.flatnonzero(same & with_words) + 1
    group_start = np.maximum.accumulate(np.where(np.concatenate([[True], ~same]), np.arange(len(order)), 0))
    chained = np.stack([order[later - 1], order[later]], axis=1)
    to_first = np.stack([order[group_start[later]], order[later]], axis=1)
    pairs = np.unique(np.concatenate([chained, to_first]), axis=0).astype(np.int64)
    return pairs[signatures.similarity(pairs) >= rules.similarity]


def later_members(pairs: Iterable[Sequence[int]]) -> np.ndarray:
    """int64, sorted: all documents of each connected group but its first."""
    parent: dict[int, int] = {}

    def root(document: int) -> int:
        while (above := parent.setdefault(document, document)) != document:
            parent[document] = parent.setdefault(above, above)
            document = parent[document]
        return document

    for left, right in pairs:
        first, second = sorted((root(int(left)), root(int(right))))
        parent[second] = first
    return np.array(sorted(document for document in parent if root(document) != document), np.int64)
