"""Readers: each turns the files of one form into Documents, addressed by (shard, record).

`read` is a pure function of (shard, record, epoch) and the reader's seed, so a resumed run reads the same Documents.
A record that cannot be used is returned as a BadRecord, never raised and never silently skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kosmos.config import CorpusConfig
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


ReaderFactory = Callable[[CorpusConfig, int], Reader]


def _jsonl(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.readers.jsonl import JsonlText

    return JsonlText(entry)


def _instructions(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.readers.jsonl import JsonlInstructions

    return JsonlInstructions(entry)


def _text(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.readers.plain_text import TextFiles

    return TextFiles(entry)


def _text_blocks(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.readers.plain_text import TextBlocks

    return TextBlocks(entry)


def _parquet(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.readers.parquet import ParquetText

    return ParquetText(entry)


def _pairs_parquet(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.readers.parquet import PairsParquet

    return PairsParquet(entry)


def _pairs_tar(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.readers.tar import PairsTar

    return PairsTar(entry)


def _interleaved_tar(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.readers.tar import InterleavedTar

    return InterleavedTar(entry)


def _generated_instructions(entry: CorpusConfig, seed: int) -> Reader:
    from kosmos.data.picturebook.instructions import open_instructions

    return open_instructions(entry, seed)


_READERS: dict[str, ReaderFactory] = {
    "jsonl": _jsonl,
    "instructions": _instructions,
    "text": _text,
    "text_blocks": _text_blocks,
    "parquet": _parquet,
    "pairs_tar": _pairs_tar,
    "pairs_parquet": _pairs_parquet,
    "interleaved_tar": _interleaved_tar,
    "picturebook.instructions": _generated_instructions,
}

# Forms that are read from front to back only, and the command that makes of them what training reads.
SEQUENTIAL: dict[str, str] = {
    "wet": "prepare",
    "laion": "fetch",
    "coyo": "fetch",
    "cc3m": "fetch",
    "cc12m": "fetch",
    "mmc4": "fetch",
    "obelics": "fetch",
}


def reader_names() -> list[str]:
    """All names, those of sequential forms too."""
    return [*_READERS, *SEQUENTIAL]


def register_reader(name: str, factory: ReaderFactory) -> None:
    """Add a reader: `factory(entry, seed)`; registering a name again replaces it."""
    _READERS[name] = factory


def open_reader(entry: CorpusConfig, seed: int) -> Reader:
    """The reader of a corpus.

    Raises ConfigError for an unknown name and for forms that training cannot address, DataError for missing files.
    """
    name, path = entry.reader, entry.path
    if name.startswith("picturebook.") and name not in _READERS:
        from kosmos.data.picturebook.reader import open_world

        return open_world(name.removeprefix("picturebook."), path, seed)
    if name in SEQUENTIAL:
        command = f"kosmos data {SEQUENTIAL[name]} --reader {name} {path} OUT"
        raise ConfigError(f"{path}: files of '{name}' are no training data yet: run `{command}`, then train on OUT")
    if name not in _READERS:
        raise ConfigError(f"no reader '{name}'{nearest(name, [*reader_names(), 'picturebook.<world>'])}")
    return _READERS[name](entry, seed)
