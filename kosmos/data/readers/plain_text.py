"""Readers of plain text: a document for each file, or documents that blank lines separate."""

from __future__ import annotations

from kosmos.config import CorpusConfig
from kosmos.data.index import SpanIndex, block_index
from kosmos.data.readers import BadRecord
from kosmos.data.readers.files import file_size, read_range
from kosmos.data.readers.records import MAX_RECORD_BYTES, RawRecord, decode_text, text_record, to_document
from kosmos.data.readers.shards import ShardReader, addressable_files, read_record
from kosmos.document import Document

SUFFIXES = (".txt", ".text", ".md")


class TextBlocks(ShardReader[SpanIndex]):
    """Documents that one or more blank lines separate."""

    suffixes = SUFFIXES

    def open_index(self, shard: str) -> SpanIndex:
        return block_index(shard)

    def raw(self, shard: str, record: int) -> RawRecord | BadRecord:
        start, end = self.index(shard).span(record)
        where = f"{shard} byte {start}"
        data = read_record(shard, start, end, where)
        return data if isinstance(data, BadRecord) else parse_text(data, where)


class TextFiles:
    """One document for each file; the shards are folders, because there may be millions of files."""

    def __init__(self, entry: CorpusConfig) -> None:
        self._folders: dict[str, list[str]] = {}
        for path in addressable_files(entry, SUFFIXES):
            self._folders.setdefault(path.rpartition("/")[0], []).append(path)

    def shards(self) -> list[str]:
        return list(self._folders)

    def num_records(self, shard: str) -> int:
        return len(self._folders[shard])

    def read(self, shard: str, record: int, epoch: int) -> Document | BadRecord:
        raw = self.raw(shard, record)
        return raw if isinstance(raw, BadRecord) else to_document(raw)

    def raw(self, shard: str, record: int) -> RawRecord | BadRecord:
        """One file."""
        path = self._folders[shard][record]
        size = file_size(path)
        if size > MAX_RECORD_BYTES:
            return BadRecord(path, "record too large", f"{size:,} bytes")
        return parse_text(read_range(path, 0, size), path)


def parse_text(data: bytes, where: str) -> RawRecord | BadRecord:
    """The record of a piece of plain text."""
    text = decode_text(data, where)
    return text if isinstance(text, BadRecord) else text_record(text.strip("\n"), where)
