"""Base of the readers whose shards are files with an index."""

from __future__ import annotations

import contextlib
from collections.abc import Sized
from functools import lru_cache
from typing import Generic, NoReturn, TypeVar

from kosmos.config import CorpusConfig
from kosmos.data.readers import BadRecord
from kosmos.data.readers.files import COMPRESSED, find_shards, read_range
from kosmos.data.readers.records import MAX_RECORD_BYTES, RawRecord, to_document
from kosmos.document import Document
from kosmos.errors import ConfigError, DataError

# So many shards' indices stay open; a system allows a process some ten thousand mappings.
_OPEN_INDICES = 256

Index = TypeVar("Index", bound=Sized)


class ShardReader(Generic[Index]):
    """`entry.path`: a file, a folder of files with one of `suffixes`, or a pattern."""

    suffixes: tuple[str, ...]

    def __init__(self, entry: CorpusConfig) -> None:
        self.field = entry.field
        self._shards = addressable_files(entry, self.suffixes)
        self.index = lru_cache(maxsize=_OPEN_INDICES)(self.open_index)

    def shards(self) -> list[str]:
        return list(self._shards)

    def num_records(self, shard: str) -> int:
        return len(self.index(shard))

    def read(self, shard: str, record: int, epoch: int) -> Document | BadRecord:
        raw = self.raw(shard, record)
        return raw if isinstance(raw, BadRecord) else to_document(raw)

    def open_index(self, shard: str) -> Index:
        """Where the records of a shard are. Raises DataError."""
        raise NotImplementedError

    def raw(self, shard: str, record: int) -> RawRecord | BadRecord:
        """One record as the file holds it."""
        raise NotImplementedError


def addressable_files(entry: CorpusConfig, suffixes: tuple[str, ...]) -> list[str]:
    """The files of a corpus. Raises ConfigError when they are compressed, DataError when there are none."""
    packed = tuple(suffix + ending for suffix in suffixes for ending in COMPRESSED)
    try:
        found = find_shards(entry.path, suffixes)
    except DataError as error:
        with contextlib.suppress(DataError):
            _refuse(entry, find_shards(entry.path, packed)[0])
        raise error
    for file in found:
        if file.endswith(packed):
            _refuse(entry, file)
    return found


def _refuse(entry: CorpusConfig, file: str) -> NoReturn:
    command = f"kosmos data prepare --reader {entry.reader} {entry.path} OUT"
    raise ConfigError(f"{file}: compressed files cannot be read in any order: run `{command}`, then train on OUT")


def read_record(path: str, start: int, end: int, where: str) -> bytes | BadRecord:
    """The bytes of a record. Raises DataError when the file is shorter than its index says."""
    if end - start > MAX_RECORD_BYTES:
        return BadRecord(where, "record too large", f"{end - start:,} bytes")
    data = read_range(path, start, end)
    if len(data) != end - start:
        raise DataError(f"{where}: the file became shorter since it was opened")
    return data
