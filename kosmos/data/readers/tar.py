"""Readers of tars: image-caption pairs as img2dataset writes them, and interleaved documents.

Members of one record share a key, the file name up to its first dot (`000000001.jpg`, `000000001.txt`). The index is
made from the tar's headers once; after that a record costs one read per member.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kosmos.data.index import TarIndex, tar_index
from kosmos.data.readers import BadRecord
from kosmos.data.readers.records import (
    RawRecord,
    decode_text,
    interleaved_record,
    pair_record,
    parse_object,
)
from kosmos.data.readers.shards import ShardReader, read_record

PICTURE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif")


class _Unreadable(Exception):
    """A member that is there but cannot be taken."""

    def __init__(self, bad: BadRecord) -> None:
        super().__init__(bad.why)
        self.bad = bad


class MemberBytes(Mapping[str, bytes]):
    """The members of one record by suffix; bytes are read when asked for."""

    def __init__(self, path: str, members: dict[str, tuple[int, int]], where: str) -> None:
        self._path = path
        self._members = members
        self._where = where

    def __getitem__(self, suffix: str) -> bytes:
        offset, size = self._members[suffix]
        data = read_record(self._path, offset, offset + size, self._where)
        if isinstance(data, BadRecord):
            raise _Unreadable(data)
        return data

    # A mapping's own way to ask would read the member.
    def __contains__(self, suffix: object) -> bool:
        return suffix in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


class TarRecords(ShardReader[TarIndex]):
    """Base of the tar readers."""

    suffixes = (".tar",)

    def open_index(self, shard: str) -> TarIndex:
        return tar_index(shard)

    def key(self, shard: str, record: int) -> str:
        """The name that a record's members share."""
        return self.index(shard).key(record)

    def raw(self, shard: str, record: int) -> RawRecord | BadRecord:
        index = self.index(shard)
        where = f"{shard} record {self.key(shard, record)}"
        members = index.members(record)
        if members is None:
            return BadRecord(where, "tar cut short")
        try:
            return self.parse(MemberBytes(shard, members, where), where)
        except _Unreadable as error:
            return error.bad

    def parse(self, members: Mapping[str, bytes], where: str) -> RawRecord | BadRecord:
        """The record that its members make up."""
        raise NotImplementedError


class PairsTar(TarRecords):
    """`key.jpg|png|webp` with `key.txt`, or a `caption` in `key.json`; the caption is supervised.

    With a `field`, the caption is that field of `key.json`. What `key.json` says goes to `meta`.
    """

    def parse(self, members: Mapping[str, bytes], where: str) -> RawRecord | BadRecord:
        picture = next((suffix for suffix in PICTURE_SUFFIXES if suffix in members), None)
        if picture is None:
            return BadRecord(where, "no picture member")
        caption: object
        if "txt" in members and not self.field:
            caption = decode_text(members["txt"], where)
        elif "json" in members:
            fields = parse_object(members["json"], where)
            caption = fields if isinstance(fields, BadRecord) else fields.get(self.field or "caption")
        else:
            caption = None
        if isinstance(caption, BadRecord):
            return caption
        return pair_record(members[picture], caption, where)


class InterleavedTar(TarRecords):
    """`key.json` = {"texts": [text or null], "images": [name or null]} of equal length, one of the two at each place.

    A picture called `0.png` is the member `key.0.png`. All text is supervised, unless a list `supervised` of the same
    length says at which places it is. Other fields go to `meta`.
    """

    def parse(self, members: Mapping[str, bytes], where: str) -> RawRecord | BadRecord:
        if "json" not in members:
            return BadRecord(where, "missing member", "json")
        fields = parse_object(members["json"], where)
        if isinstance(fields, BadRecord):
            return fields
        texts, names, supervised = fields.get("texts"), fields.get("images"), fields.get("supervised")
        if not isinstance(texts, list) or not isinstance(names, list):
            return BadRecord(where, "bad json", "texts and images must be lists of one length")
        images: list[bytes | None] = []
        for name in names:
            suffix = _member_suffix(name, members)
            if name is not None and suffix is None:
                return BadRecord(where, "missing member", str(name))
            images.append(None if suffix is None else members[suffix])
        meta = {name: value for name, value in fields.items() if name not in ("texts", "images", "supervised")}
        return interleaved_record(texts, images, where, meta, supervised)


def _member_suffix(name: object, members: Mapping[str, bytes]) -> str | None:
    """The member that `name` means: `0.png`, or the whole `key.0.png`."""
    if not isinstance(name, str):
        return None
    short = name.lower().rpartition("/")[2]
    return next((suffix for suffix in (short, short.partition(".")[2]) if suffix and suffix in members), None)
