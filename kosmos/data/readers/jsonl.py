"""Readers of JSON lines: plain text, and instructions of which only the output is supervised."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from kosmos.data.readers import BadRecord
from kosmos.data.readers.files import find_shards
from kosmos.document import Document, Text
from kosmos.errors import DataError

_SCAN_BYTES = 1 << 22


def line_spans(path: str) -> np.ndarray:
    """Byte spans int64 [lines, 2] (start, end) of the lines that are not blank."""
    newlines: list[np.ndarray] = []
    size = 0
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_SCAN_BYTES):
                newlines.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10) + size)
                size += len(chunk)
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}") from error
    ends = np.concatenate([*newlines, [size]]).astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    spans = np.stack([starts, ends], axis=1)
    # A line of one byte or none ("\n", "\r\n") holds no JSON object.
    return spans[ends - starts > 1]


class JsonLines:
    """Base of the readers whose record is one line. `path`: a file, a folder of *.jsonl, or a pattern."""

    def __init__(self, path: str) -> None:
        self._shards = find_shards(path, ".jsonl")
        self._spans: dict[str, np.ndarray] = {}

    def shards(self) -> list[str]:
        return list(self._shards)

    def num_records(self, shard: str) -> int:
        return len(self._index(shard))

    def read(self, shard: str, record: int, epoch: int) -> Document | BadRecord:
        start, end = (int(edge) for edge in self._index(shard)[record])
        where = f"{shard} byte {start}"
        try:
            with open(shard, "rb") as file:
                file.seek(start)
                raw = file.read(end - start)
        except OSError as error:
            raise DataError(f"{where}: cannot read: {error.strerror}") from error
        try:
            fields = json.loads(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            return BadRecord(where, "not utf-8", str(error))
        except (ValueError, RecursionError) as error:
            return BadRecord(where, "bad json", str(error))
        if not isinstance(fields, dict):
            return BadRecord(where, "bad json", "not an object")
        return self.document(fields, where)

    def document(self, fields: dict[str, Any], where: str) -> Document | BadRecord:
        """The Document of one line's fields."""
        raise NotImplementedError

    def _index(self, shard: str) -> np.ndarray:
        if shard not in self._spans:
            self._spans[shard] = line_spans(shard)
        return self._spans[shard]


def clean_text(value: object) -> str | None:
    """The text of a field, or None when it is no text or not encodable (a lone surrogate)."""
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return value


class JsonlText(JsonLines):
    """`{"text": ...}` a line; every token is supervised."""

    def document(self, fields: dict[str, Any], where: str) -> Document | BadRecord:
        text = clean_text(fields.get("text"))
        if text is None:
            return BadRecord(where, "no text field")
        if not text.strip():
            return BadRecord(where, "empty text")
        return Document(Text(text))


class JsonlInstructions(JsonLines):
    """`{"instruction": ..., "input": ..., "output": ...}` a line; only the output is supervised (paper 3.3).

    The paper gives no format; this is `{instruction} {input}`, a space, and the output.
    """

    def document(self, fields: dict[str, Any], where: str) -> Document | BadRecord:
        instruction = clean_text(fields.get("instruction"))
        given = clean_text(fields.get("input", ""))
        output = clean_text(fields.get("output"))
        if instruction is None or given is None or output is None:
            return BadRecord(where, "no instruction or output field")
        if not instruction.strip() or not output.strip():
            return BadRecord(where, "empty text")
        prompt = f"{instruction.strip()} {given.strip()}".strip()
        return Document(Text(prompt, supervised=False), Text(" " + output.strip()))
