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
    """A correct RGB PNG, all black: 825 MB when decoded, 0.8 MB as a file."""
    count = height * (1 + 3 * width)
    whole, rest = divmod(count, 1 << 20)
    checksum = (count % 65521) << 16 | 1  # Adler-32 of so many zeros
    packed = b"\x78\xda" + _deflated(1 << 20) * whole + _deflated(rest) + b"\x03\x00" + struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _deflated(count: int) -> bytes:
    """So many zeros as blocks that may stand behind any other."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(bytes(count)) + packer.flush(zlib.Z_FULL_FLUSH)


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
