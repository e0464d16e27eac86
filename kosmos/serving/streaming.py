"""Waiting for a client while it is there: events as they come, and an end as soon as it has left."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from kosmos.serving.refusals import Refusal, internal_error

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_DONE = b"data: [DONE]\n\n"


class ClientLeft(Exception):
    """Nobody is there to take the answer."""


def to_json(content: Any) -> bytes:
    """JSON as UTF-8; half a surrogate pair, which UTF-8 cannot write, becomes a question mark."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


class Answer(JSONResponse):
    """A JSON answer, said to be one where FastAPI writes the OpenAPI document."""

    def render(self, content: Any) -> bytes:
        return to_json(content)


async def while_there(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, which is cancelled when the client leaves. Raises ClientLeft then."""
    return await _first(asyncio.ensure_future(work), asyncio.ensure_future(_gone(request.receive)))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _first(work: asyncio.Future[Result], gone: asyncio.Future[None]) -> Result:
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientLeft
    finally:
        for task in (work, gone):
            await _cancelled(task)


async def _cancelled(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class EventStream(Response):
    """Server-sent events: each chunk as JSON (None is none), then `[DONE]`; an error in the midst is the last event.

    `on_end` is called when the last one was sent or the client has left.
    """

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncIterator[Any], on_end: Callable[[], None]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with suppress(ClientLeft):
                await _first(asyncio.ensure_future(self._pump(send)), asyncio.ensure_future(_gone(receive)))
        finally:
            self._on_end()

    async def _pump(self, send: Send) -> None:
        async def write(data: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        try:
            async for chunk in self._chunks:
                if chunk is not None:
                    await write(b"data: " + to_json(chunk) + b"\n\n")
            await write(_DONE)
        except Refusal as refusal:
            await write(b"data: " + to_json(refusal.body()) + b"\n\n")
        except Exception:
            logger.exception("a stream broke off")
            await write(b"data: " + to_json(internal_error().body()) + b"\n\n")
        await write(b"", more=False)
