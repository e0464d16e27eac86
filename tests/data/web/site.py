"""Pages and pictures that the tests write."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image

_NOUN_NAMES = "lamp tower keeper pier storm harbour gallery stair window boat island rope signal engine garden letter"
_NOUNS = _NOUN_NAMES.split()
_VERB_NAMES = "crosses watches paints follows carries opens leaves measures repairs remembers hides finds"
_VERBS = _VERB_NAMES.split()


def prose(seed: int, sentences: int = 12) -> str:
    """English sentences that no other seed has."""
    random = np.random.default_rng(seed)

    def noun() -> str:
        return f"{_NOUNS[random.integers(len(_NOUNS))]} of the {_NOUNS[random.integers(len(_NOUNS))]}"

    return " ".join(
        f"The {noun()} {_VERBS[random.integers(len(_VERBS))]} a {noun()} that is from the year {random.integers(2000)}."
        for _ in range(sentences)
    )


def picture(seed: int = 0, width: int = 80, height: int = 70, form: str = "PNG") -> bytes:
    """A picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def plain_picture(colour: tuple[int, int, int] = (200, 30, 30), side: int = 80) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (side, side), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def huge_png(width: int = 30_000, height: int = 20_000) -> bytes:
    """A PNG that says it has 600 megapixels, and has them: a few hundred kilobytes of zeros."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(1)
    row = bytes(width // 8 + 1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def html(*body: str) -> str:
    """A whole page with this content."""
    return f"<html><head><title>A page</title></head><body><article>{''.join(body)}</article></body></html>"


def paragraphs(seed: int, *between: str) -> str:
    """A page of prose with something between its paragraphs."""
    parts = [f"<p>{prose(seed)}</p>"]
    for place, something in enumerate(between):
        parts += [something, f"<p>{prose(1000 * (seed + 1) + place)}</p>"]
    return html(*parts)


def image(src: str) -> str:
    return f'<img src="{src}" alt="never in the text">'


def write(root: Path, name: str, content: str | bytes) -> Path:
    """Write a file below `root`, with its folders."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def warc_record(
    url: str, body: bytes, kind: str = "text/html; charset=utf-8", status: str = "200 OK", headers: str = ""
) -> bytes:
    """One response, a gzip member of its own."""
    answer = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Record-ID: <urn:uuid:{url}>\r\n"
        "WARC-Date: 2024-01-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(answer)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + answer + b"\r\n\r\n", 1)
