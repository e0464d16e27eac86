"""The members of a tar from its headers alone: ustar, GNU long names, pax; what cannot be read whole is told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from kosmos.errors import DataError

_BLOCK = 512
_REGULAR = (b"0", b"\0", b"7")
# Long names and pax headers are small; what claims more is damaged.
_MOST_HEADER_BYTES = 1 << 20


class Member(NamedTuple):
    """A regular file in a tar; `offset` is where its content begins. Without a name: here the tar is cut or damaged."""

    name: str
    offset: int
    size: int


def tar_members(file: BinaryIO, size: int, path: str) -> Iterator[Member]:
    """The regular files in order; one last Member with the name "" when the tar is cut short or damaged.

    Raises DataError when it is no tar at all.
    """
    position = 0
    long_name: str | None = None
    pax: dict[str, str] = {}
    while True:
        file.seek(position)
        block = file.read(_BLOCK)
        # Blocks of zeros end a tar, and many are left without any; but one of no bytes at all was never finished.
        if block.count(0) == _BLOCK or (not block and position == size > 0):
            return
        header_size = _checked_size(block) if len(block) == _BLOCK else None
        if header_size is None:
            if position == 0 and len(block) == _BLOCK:
                raise DataError(f"{path}: not a tar file")
            yield Member("", position, 0)
            return
        kind = block[156:157]
        content = position + _BLOCK
        length = header_size if kind in (b"x", b"g", b"L", b"K") else int(pax.get("size", header_size))
        if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
            # Links and folders have no content, whatever size some writers put there.
            length = 0
        if content + length > size:
            yield Member("", position, 0)
            return
        position = content + -(-length // _BLOCK) * _BLOCK
        if kind in (b"x", b"L", b"g", b"K"):
            if length > _MOST_HEADER_BYTES:
                yield Member("", content, 0)
                return
            data = file.read(length)
            if kind == b"L":
                long_name = _text(data)
            elif kind == b"x":
                pax = _pax_fields(data)
            continue
        name = pax.get("path") or long_name or _name(block)
        sparse = any(key.startswith("GNU.sparse.") for key in pax)
        if kind in _REGULAR and not name.endswith("/") and not sparse:
            yield Member(name, content, length)
        long_name, pax = None, {}


def _checked_size(block: bytes) -> int | None:
    """The size a header tells, or None when it is no header."""
    told = _number(block[148:156])
    # The sum takes its own field as blanks.
    total = sum(block) - sum(block[148:156]) + 256
    if told != total:
        high = sum(byte > 127 for byte in block[:148] + block[156:])
        # Some old writers summed signed bytes.
        if told != total - 256 * high:
            return None
    return _number(block[124:136])


def _number(field: bytes) -> int | None:
    """A number in octal digits, or in base 256 where the first bit is set."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip()
    try:
        return int(digits or b"0", 8) if not digits.startswith(b"-") else None
    except ValueError:
        return None


def _name(block: bytes) -> str:
    name = _text(block[:100])
    # The prefix exists in ustar only; GNU's own form keeps times there.
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _pax_fields(data: bytes) -> dict[str, str]:
    """`length key=value` records; what cannot be read ends them."""
    fields: dict[str, str] = {}
    position = 0
    while position < len(data):
        number, space, _ = data[position : position + 20].partition(b" ")
        if not space or not number.isdigit() or int(number) < 5:
            break
        record = data[position + len(number) + 1 : position + int(number) - 1]
        key, _, value = record.partition(b"=")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        position += int(number)
    if not fields.get("size", "0").isdecimal():
        del fields["size"]
    return fields
