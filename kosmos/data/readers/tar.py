"""Readers of tars: image-caption pairs as img2dataset writes them, and interleaved documents.

Members of one record share a key, the file name up to its first dot (`000000001.jpg`, `000000001.txt`). The index is
made from the tar's headers once; after that a record costs one seek per member.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from typing import Any

from kosmos.data.readers import BadRecord
from kosmos.data.readers.files import find_shards
from kosmos.data.readers.jsonl import clean_text
from kosmos.document import Document, Image, Segment, Text
from kosmos.errors import DataError

PICTURE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif")

# suffix -> (offset, size), or None for the end of a tar that is cut short
Members = dict[str, tuple[int, int]]


def tar_records(path: str) -> list[tuple[str, Members | None]]:
    """(key, members) of each record in order of appearance; a damaged end of the tar is one more record with None.

    Raises DataError when the file is no tar at all.
    """
    records: dict[str, Members] = {}
    damaged = False
    try:
        size = os.path.getsize(path)
        with tarfile.open(path, "r:") as archive:
            while True:
                try:
                    member = archive.next()
                except (tarfile.TarError, OSError, ValueError):
                    damaged = True
                    break
                if member is None:
                    break
                if not member.isfile():
                    continue
                if member.offset_data + member.size > size:
                    damaged = True
                    break
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                records.setdefault(key, {})[suffix.lower()] = (member.offset_data, member.size)
    except tarfile.TarError as error:
        raise DataError(f"{path}: not a tar file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}") from error
    found: list[tuple[str, Members | None]] = list(records.items())
    return [*found, ("end", None)] if damaged else found


class TarRecords:
    """Base of the tar readers. `path`: a tar, a folder of *.tar, or a pattern."""

    def __init__(self, path: str) -> None:
        self._shards = find_shards(path, ".tar")
        self._records: dict[str, list[tuple[str, Members | None]]] = {}

    def shards(self) -> list[str]:
        return list(self._shards)

    def num_records(self, shard: str) -> int:
        return len(self._index(shard))

    def read(self, shard: str, record: int, epoch: int) -> Document | BadRecord:
        key, members = self._index(shard)[record]
        where = f"{shard} record {key}"
        if members is None:
            return BadRecord(where, "tar cut short")
        return self.document(MemberBytes(shard, members), where)

    def document(self, members: Mapping[str, bytes], where: str) -> Document | BadRecord:
        """The Document of one record's members."""
        raise NotImplementedError

    def _index(self, shard: str) -> list[tuple[str, Members | None]]:
        if shard not in self._records:
            self._records[shard] = tar_records(shard)
        return self._records[shard]


class MemberBytes(Mapping[str, bytes]):
    """The members of one record by suffix; bytes are read when asked for."""

    def __init__(self, path: str, members: Members) -> None:
        self._path = path
        self._members = members

    def __getitem__(self, suffix: str) -> bytes:
        offset, size = self._members[suffix]
        try:
            with open(self._path, "rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise DataError(f"{self._path}: cannot read: {error.strerror}") from error

    def __iter__(self) -> Any:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


class PairsTar(TarRecords):
    """`key.jpg|png|webp` with `key.txt`, or a `caption` in `key.json`; the caption is supervised."""

    def document(self, members: Mapping[str, bytes], where: str) -> Document | BadRecord:
        picture = next((suffix for suffix in PICTURE_SUFFIXES if suffix in members), None)
        if picture is None:
            return BadRecord(where, "no picture member")
        caption: str | None
        if "txt" in members:
            try:
                caption = members["txt"].decode("utf-8")
            except UnicodeDecodeError as error:
                return BadRecord(where, "not utf-8", str(error))
        elif "json" in members:
            fields = _json_object(members["json"])
            if fields is None:
                return BadRecord(where, "bad json")
            caption = clean_text(fields.get("caption"))
        else:
            caption = None
        if caption is None:
            return BadRecord(where, "no caption")
        if not caption.strip():
            return BadRecord(where, "empty text")
        return Document(Image(members[picture]), Text(caption.strip()))


class InterleavedTar(TarRecords):
    """`key.json` = {"texts": [text or null], "images": [name or null]} of equal length, one of the two at each place.

    A picture called `0.png` is the member `key.0.png`. All text is supervised.
    """

    def document(self, members: Mapping[str, bytes], where: str) -> Document | BadRecord:
        if "json" not in members:
            return BadRecord(where, "no json member")
        fields = _json_object(members["json"])
        if fields is None:
            return BadRecord(where, "bad json")
        texts, images = fields.get("texts"), fields.get("images")
        if not isinstance(texts, list) or not isinstance(images, list) or len(texts) != len(images):
            return BadRecord(where, "bad json", "texts and images must be lists of one length")
        segments: list[Segment] = []
        for text, name in zip(texts, images, strict=True):
            if (text is None) == (name is None):
                return BadRecord(where, "bad json", "each place holds a text or an image")
            if name is not None:
                suffix = _member_suffix(name, members)
                if suffix is None:
                    return BadRecord(where, "missing member", str(name))
                segments.append(Image(members[suffix]))
            else:
                cleaned = clean_text(text)
                if cleaned is None:
                    return BadRecord(where, "bad json", "a text is no string")
                if cleaned.strip():
                    segments.append(Text(cleaned))
        if not segments:
            return BadRecord(where, "empty text")
        return Document(*segments)


def _member_suffix(name: object, members: Mapping[str, bytes]) -> str | None:
    """The member that `name` means: `0.png`, or the whole `key.0.png`."""
    if not isinstance(name, str):
        return None
    short = name.lower().rpartition("/")[2]
    return next((suffix for suffix in (short, short.partition(".")[2]) if suffix and suffix in members), None)
