"""Bodies are read under limits: of bytes and seconds for one, of bytes for all that are held at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from starlette.types import Message, Receive

from kosmos.serving.options import ServeOptions
from kosmos.serving.refusals import Refusal

_LONGEST_LENGTH = 15  # digits of a Content-Length
# After a refusal the rest is read and thrown away for a moment, or the answer would be lost in a broken connection.
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 64 << 20


class ClientLeft(Exception):
    """The connection was closed before the body was complete."""


class BodyReader:
    """Reads bodies of all requests of one server, within its limits."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._held = 0

    def check_headers(self, headers: Mapping[bytes, list[bytes]]) -> int:
        """The length that the headers state, 0 when they state none. Raises Refusal (400, 413)."""
        lengths = headers.get(b"content-length", [])
        if len(lengths) + len(headers.get(b"transfer-encoding", [])) > 1:
            raise Refusal(400, "the headers state the body's length twice", code="ambiguous_length")
        if not lengths:
            return 0
        if not lengths[0].isdigit() or len(lengths[0]) > _LONGEST_LENGTH:
            raise Refusal(400, "Content-Length is no number of bytes", code="ambiguous_length")
        length = int(lengths[0])
        if length > self._options.max_body_bytes:
            raise self._too_large()
        return length

    async def read(self, receive: Receive, length: int) -> bytes:
        """The whole body. The caller gives `len(body)` back to `release`.

        Raises Refusal: 413 beyond the limit, 408 for one that comes too slowly, 503 while too much is held already;
        ClientLeft when the connection closes.
        """
        if self._held + length > self._options.max_waiting_body_bytes:
            raise self._busy()
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._options.body_timeout_s):
                await self._fill(chunks, receive)
        except TimeoutError as error:
            self.release(sum(map(len, chunks)))
            seconds = self._options.body_timeout_s
            raise Refusal(408, f"the body took more than {seconds:g} s to arrive", code="body_timeout") from error
        except BaseException:
            self.release(sum(map(len, chunks)))
            raise
        return b"".join(chunks)

    def release(self, count: int) -> None:
        """`count` bytes of a body are held no longer."""
        self._held -= count

    async def _fill(self, chunks: list[bytes], receive: Receive) -> None:
        more, count = True, 0
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            chunk = message.get("body", b"")
            count += len(chunk)
            if count > self._options.max_body_bytes:
                raise self._too_large()
            if self._held + len(chunk) > self._options.max_waiting_body_bytes:
                raise self._busy()
            chunks.append(chunk)
            self._held += len(chunk)
            more = message.get("more_body", False)

    def _too_large(self) -> Refusal:
        limit = self._options.max_body_bytes
        return Refusal(413, f"the body is over the limit of {limit} bytes; send less", code="body_too_large")

    def _busy(self) -> Refusal:
        return Refusal(
            503,
            "too many large requests are being read; try again shortly",
            type="server_error",
            code="overloaded",
            headers={"Retry-After": "1"},
        )


async def throw_away(receive: Receive) -> None:
    """Read what the client still sends, for a moment, keeping nothing."""
    count = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while count < _LINGER_BYTES:
                message: Message = await receive()
                count += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
