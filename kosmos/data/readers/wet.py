"""Common Crawl's WET files: the plain text of web pages, a WARC record each, the pages of `WARC-Type: conversion`."""

from __future__ import annotations

from collections.abc import Iterator

from kosmos.data.readers import BadRecord
from kosmos.data.readers.compressed import DamagedFile, read_chunks
from kosmos.data.readers.records import MAX_RECORD_BYTES, RawRecord, decode_text, text_record

_MOST_HEADER_BYTES = 1 << 16
_META = {
    "warc-target-uri": "url",
    "warc-date": "date",
    "warc-record-id": "id",
    "warc-identified-content-language": "languages",
}


def wet_records(path: str) -> Iterator[RawRecord | BadRecord]:
    """The pages of a WET file, compressed or not; `meta`: url, date, id, languages. Raises DamagedFile, DataError."""
    content = _Content(path)
    while content.skip_newlines():
        where = f"{path} byte {content.position}"
        head = content.until(b"\r\n\r\n", _MOST_HEADER_BYTES)
        fields = _fields(head) if head is not None and head.startswith(b"WARC/") else None
        length = -1 if fields is None else _length(fields)
        if fields is None or length < 0:
            # Without a length there is no telling where the next record begins.
            raise DamagedFile("compressed file damaged", f"{where}: no WARC record")
        if length > MAX_RECORD_BYTES or fields.get("warc-type") != "conversion":
            content.skip(length)
            if length > MAX_RECORD_BYTES:
                yield BadRecord(where, "record too large", f"{length:,} bytes")
            continue
        text = decode_text(content.take(length), where)
        meta = {name: fields[key] for key, name in _META.items() if key in fields}
        yield text if isinstance(text, BadRecord) else text_record(text.strip("\n"), where, meta)


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("utf-8", "replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _length(fields: dict[str, str]) -> int:
    told = fields.get("content-length", "")
    return int(told) if told.isdecimal() and len(told) < 16 else -1


class _Content:
    """The decompressed content as one run of bytes, read ahead as far as is asked for."""

    def __init__(self, path: str) -> None:
        self._chunks = read_chunks(path)
        self._held = bytearray()
        self._start = 0  # what was taken of `_held`
        self.position = 0

    def skip_newlines(self) -> bool:
        """Go to the next record; False at the end."""
        while True:
            while self._start < len(self._held):
                if self._held[self._start] not in b"\r\n":
                    return True
                self._advance(1)
            if not self._more():
                return False

    def until(self, mark: bytes, most: int) -> bytes | None:
        """What stands before a mark, which is passed too; None when it does not come."""
        while True:
            found = self._held.find(mark, self._start, self._start + most)
            if found >= 0:
                taken = bytes(self._held[self._start : found])
                self._advance(len(taken) + len(mark))
                return taken
            if len(self._held) - self._start >= most or not self._more():
                return None

    def take(self, length: int) -> bytes:
        """The next bytes. Raises DamagedFile when there are fewer."""
        while len(self._held) - self._start < length:
            if not self._more():
                raise DamagedFile("compressed file cut short", "the last record is not whole")
        taken = bytes(self._held[self._start : self._start + length])
        self._advance(length)
        return taken

    def skip(self, length: int) -> None:
        while length > 0:
            step = min(length, len(self._held) - self._start)
            self._advance(step)
            length -= step
            if length and not self._more():
                raise DamagedFile("compressed file cut short", "the last record is not whole")

    def _advance(self, length: int) -> None:
        self._start += length
        self.position += length

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        del self._held[: self._start]
        self._start = 0
        self._held += chunk
        return True
