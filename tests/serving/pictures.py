"""Pictures, whole and malicious, made here."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import PIL.Image


def picture(kind: str = "PNG", size: tuple[int, int] = (20, 12), colour: str = "red") -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


def png_bomb(width: int = 16_585, height: int = 16_585) -> bytes:
    """A correct RGB PNG of one colour: 825 MB when decoded, a few hundred kilobytes as a file."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    packed = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def gif_of_frames(count: int) -> bytes:
    """The first frame is red, the others blue."""
    frames = [PIL.Image.new("RGB", (8, 8), "red")] + [
        PIL.Image.new("RGB", (8, 8), (0, 0, 255 - number % 32)) for number in range(count - 1)
    ]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
