"""Readers: each turns the files of one form into Documents, addressed by (shard, record).

`read` is a pure function of (shard, record, epoch) and the reader's seed, so a resumed run reads the same Documents.
A record that cannot be used is returned as a BadRecord, never raised and never silently skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kosmos.document import Document
from kosmos.errors import ConfigError, nearest


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be used: `where` names it, `why` is the short reason it is counted under."""

    where: str
    why: str
    detail: str = ""


class Reader(Protocol):
    """What the data path asks of a corpus."""

    def shards(self) -> list[str]:
        """Names of the shards, in a stable order."""
        ...

    def num_records(self, shard: str) -> int:
        """Records in one shard."""
        ...

    def read(self, shard: str, record: int, epoch: int) -> Document | BadRecord:
        """One record; the same arguments give the same Document."""
        ...


ReaderFactory = Callable[[str, int], Reader]


def _jsonl(path: str, seed: int) -> Reader:
    from kosmos.data.readers.jsonl import JsonlText

    return JsonlText(path)


def _instructions(path: str, seed: int) -> Reader:
    from kosmos.data.readers.jsonl import JsonlInstructions

    return JsonlInstructions(path)


def _pairs_tar(path: str, seed: int) -> Reader:
    from kosmos.data.readers.tar import PairsTar

    return PairsTar(path)


def _interleaved_tar(path: str, seed: int) -> Reader:
    from kosmos.data.readers.tar import InterleavedTar

    return InterleavedTar(path)


_READERS: dict[str, ReaderFactory] = {
    "jsonl": _jsonl,
    "instructions": _instructions,
    "pairs_tar": _pairs_tar,
    "interleaved_tar": _interleaved_tar,
}


def register_reader(name: str, factory: ReaderFactory) -> None:
    """Add a reader: `factory(path, seed)`; registering a name again replaces it."""
    _READERS[name] = factory


def open_reader(name: str, path: str, seed: int) -> Reader:
    """The reader called `name` over `path`. Raises ConfigError for an unknown name, DataError for missing files."""
    if name.startswith("picturebook."):
        from kosmos.data.picturebook.reader import open_world

        return open_world(name.removeprefix("picturebook."), path, seed)
    if name not in _READERS:
        raise ConfigError(f"no reader '{name}'{nearest(name, [*_READERS, 'picturebook.<world>'])}")
    return _READERS[name](path, seed)
