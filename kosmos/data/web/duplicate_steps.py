"""Near-duplicates as steps: signatures of each shard, pairs of each band, groups, and the filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kosmos.data.web.array_files import read_array, write_array
from kosmos.data.web.minhash import MinHash, Signatures, band_pairs, later_members
from kosmos.data.web.settings import DuplicateRules
from kosmos.data.web.step import CountingStep


class TakeSignatures(CountingStep):
    """Writes the signatures of a task's documents, and passes the documents on."""

    def __init__(self, folder: str, rules: DuplicateRules) -> None:
        super().__init__("signatures")
        self.folder = folder
        self.rules = rules

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield what comes in."""
        minhash = MinHash(self.rules)
        rows: list[np.ndarray] = []
        for document in data:
            with self.busy():
                rows.append(minhash.signature(document.text))
            yield document
        write_array(
            Path(self.folder, f"{rank:05d}.npy"), np.stack(rows) if rows else np.empty((0, minhash.size), np.uint32)
        )


class FindPairs(CountingStep):
    """One task for each band: pairs of near-duplicates among all shards. Takes and yields no documents."""

    def __init__(self, signatures: str, folder: str, tasks: int, rules: DuplicateRules) -> None:
        super().__init__("pairs")
        self.signatures = signatures
        self.folder = folder
        self.tasks = tasks
        self.rules = rules

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Write the pairs of the band `rank`."""
        with self.busy():
            pairs = band_pairs(load_signatures(self.signatures, self.tasks), rank, self.rules)
            write_array(Path(self.folder, f"{rank:05d}.npy"), pairs)
        yield from ()


class FindGroups(CountingStep):
    """One task: for each shard, the documents that have an earlier near-duplicate."""

    def __init__(self, signatures: str, pairs: str, folder: str, tasks: int, rules: DuplicateRules) -> None:
        super().__init__("groups")
        self.signatures = signatures
        self.pairs = pairs
        self.folder = folder
        self.tasks = tasks
        self.rules = rules

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Write one list of places for each shard."""
        with self.busy():
            files = [Path(self.pairs, f"{band:05d}.npy") for band in range(self.rules.bands)]
            pairs = np.concatenate([read_array(file) for file in files])
            marked = later_members(np.unique(pairs, axis=0).tolist())
            starts = load_signatures(self.signatures, self.tasks).starts
            for task in range(self.tasks):
                first, last = np.searchsorted(marked, [starts[task], starts[task + 1]])
                write_array(Path(self.folder, f"{task:05d}.npy"), marked[first:last] - starts[task])
        yield from ()


class DropNearDuplicates(CountingStep):
    """Drops the documents that FindGroups marked; documents come in the order in which signatures were taken."""

    def __init__(self, folder: str) -> None:
        super().__init__("near-duplicates")
        self.folder = folder

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the first document of each group."""
        marked = frozenset(read_array(Path(self.folder, f"{rank:05d}.npy")).tolist())
        for place, document in enumerate(data):
            if place in marked:
                self.remove("near-duplicate", len(document.media))
            else:
                yield document


def load_signatures(folder: str, tasks: int) -> Signatures:
    """The signatures of all tasks, memory-mapped."""
    return Signatures([read_array(Path(folder, f"{task:05d}.npy")) for task in range(tasks)])
