"""Kind and size of a picture from its header alone: no decoder sees a byte before the size is known."""

from __future__ import annotations

import struct

_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a length
_START_OF_SCAN = 0xDA


def kind_of(data: bytes) -> str | None:
    """PNG, JPEG, WEBP, GIF, or None, by the first bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return "GIF" if data.startswith((b"GIF87a", b"GIF89a")) else None


def header_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as the header states them, or None when it is no picture or cut short."""
    try:
        match kind_of(data):
            case "PNG":
                if data[12:16] != b"IHDR":
                    return None
                width, height = struct.unpack_from(">II", data, 16)
                return width, height
            case "JPEG":
                return _jpeg_size(data)
            case "WEBP":
                return _webp_size(data)
            case "GIF":
                width, height = struct.unpack_from("<HH", data, 6)
                return width, height
    except (struct.error, IndexError):
        return None
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while True:
        if data[place] != 0xFF:
            return None
        while data[place] == 0xFF:  # any number of fill bytes
            place += 1
        marker = data[place]
        place += 1
        if marker in _ALONE:
            continue
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, place + 3)
            return width, height
        (length,) = struct.unpack_from(">H", data, place)
        if marker == _START_OF_SCAN or length < 2:
            return None
        place += length


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Of the canvas, which is what the decoder fills."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
