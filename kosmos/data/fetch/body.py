"""Reading an answer's body, never more of it than the limit."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import AsyncIterable
from urllib.parse import unquote_to_bytes

from kosmos.data.fetch.results import FetchError


async def read_capped(chunks: AsyncIterable[bytes], encoding: str, limit: int, cut: bool = False) -> bytes:
    """The decoded body. Raises FetchError as soon as it exceeds `limit` bytes, before or after decompression; with
    `cut` the rest is left away instead.

    Compression is undone here piece by piece: we ask for none, but servers do as they like, and a few kilobytes can
    unpack to gigabytes. Only gzip and deflate are known.
    """
    unpacker = _unpacker(encoding)
    body = bytearray()
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if unpacker is None:
            body += chunk
        else:
            try:
                body += unpacker.decompress(chunk, limit + 1 - len(body))
            except zlib.error as error:
                raise FetchError("encoding", str(error)) from error
        if len(body) > limit or received > limit:
            if cut:
                return bytes(body[:limit])
            raise FetchError("too large", f"more than {limit} bytes")
    if unpacker is not None and not unpacker.eof:
        raise FetchError("cut short", "the compressed answer has no end", retry=True)
    return bytes(body)


def _unpacker(encoding: str) -> zlib._Decompress | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, as the first bytes say
    raise FetchError("encoding", f"content-encoding {encoding[:40]!r} was not asked for")


def decode_data_url(url: str, limit: int) -> tuple[bytes, str]:
    """The bytes and the media type of a `data:` URL, decoded here. Raises FetchError."""
    head, comma, payload = url.strip().partition(",")
    if not comma:
        raise FetchError("data url", "no comma")
    if len(payload) > 4 * limit:  # percent-encoding takes three characters for a byte
        raise FetchError("too large", f"a data: URL of {len(payload)} characters")
    media = head[len("data:") :]
    try:
        data = unquote_to_bytes(payload)
        if media.lower().endswith(";base64"):
            media = media[: -len(";base64")]
            packed = b"".join(data.split()).rstrip(b"=")
            data = base64.b64decode(packed + b"=" * (-len(packed) % 4), altchars=None, validate=True)
    except (ValueError, binascii.Error) as error:
        raise FetchError("data url", str(error)[:200]) from error
    if len(data) > limit:
        raise FetchError("too large", f"more than {limit} bytes")
    return data, media
