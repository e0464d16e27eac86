"""Readers of JSON lines: plain text, and instructions of which only the output is supervised."""

from __future__ import annotations

from typing import Any

from kosmos.data.index import SpanIndex, line_index
from kosmos.data.readers import BadRecord
from kosmos.data.readers.records import RawRecord, instruction_record, parse_object, text_record
from kosmos.data.readers.shards import ShardReader, read_record

SUFFIXES = (".jsonl", ".ndjson")


class JsonLines(ShardReader[SpanIndex]):
    """Base of the readers whose record is one line; blank lines are none."""

    suffixes = SUFFIXES

    def open_index(self, shard: str) -> SpanIndex:
        return line_index(shard)

    def raw(self, shard: str, record: int) -> RawRecord | BadRecord:
        start, end = self.index(shard).span(record)
        where = f"{shard} byte {start}"
        line = read_record(shard, start, end, where)
        return line if isinstance(line, BadRecord) else self.parse(line, where, self.field)

    @staticmethod
    def parse(line: bytes, where: str, field: str) -> RawRecord | BadRecord:
        """The record of one line."""
        raise NotImplementedError


class JsonlText(JsonLines):
    """`{"text": ...}` a line, or another field; every token is supervised. Other fields go to `meta`."""

    @staticmethod
    def parse(line: bytes, where: str, field: str) -> RawRecord | BadRecord:
        fields = parse_object(line, where)
        if isinstance(fields, BadRecord):
            return fields
        name = field or "text"
        return text_record(fields.get(name), where, _meta(fields, name))


class JsonlInstructions(JsonLines):
    """`{"instruction": ..., "input": ..., "output": ...}` a line; only the output is supervised."""

    @staticmethod
    def parse(line: bytes, where: str, field: str) -> RawRecord | BadRecord:
        fields = parse_object(line, where)
        return fields if isinstance(fields, BadRecord) else instruction_record(fields, where)


def _meta(fields: dict[str, Any], text: str) -> dict[str, Any]:
    """What a line says beside the text; the Pile and many others keep it in an object called `meta`."""
    inner = fields.get("meta")
    rest = {name: value for name, value in fields.items() if name not in (text, "meta")}
    return rest | inner if isinstance(inner, dict) else rest
