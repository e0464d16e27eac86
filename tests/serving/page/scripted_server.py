"""A server that the page's tests control: it answers what it is told, when it is told, and keeps what was asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from kosmos.serving.options import ServeOptions
from kosmos.serving.page import page_routes

Answer = Callable[[dict[str, Any]], Response]


@dataclass
class Scripted:
    """`answers` are given in their order, the last one again and again; `asked` are (path, body, authorization)."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any], str | None]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)  # a client went away in the midst of a stream

    def script(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked.clear()
        self.left.clear()

    def text(self, *pieces: str, pause_s: float = 0.0, endless: bool = False) -> Answer:
        """A stream of chat or completion pieces; an endless one repeats its last piece until nobody listens."""

        def answer(body: dict[str, Any]) -> Response:
            async def stream() -> AsyncIterator[str]:
                try:
                    for piece in pieces:
                        yield _event(body, piece)
                        await asyncio.sleep(pause_s)
                    while endless:
                        yield _event(body, pieces[-1])
                        await asyncio.sleep(pause_s)
                    yield _event(body, "", finish="stop")
                    yield f"data: {json.dumps({'choices': [], 'usage': {'completion_tokens': len(pieces)}})}\n\n"
                    yield "data: [DONE]\n\n"
                except asyncio.CancelledError:
                    self.left.set()
                    raise

            return StreamingResponse(stream(), media_type="text/event-stream")

        return answer


def refuse(status: int, message: str, **headers: str) -> Answer:
    error = {"error": {"message": message, "type": "x", "param": None, "code": None}}
    return lambda body: JSONResponse(error, status_code=status, headers=headers)


def say(answer: Any) -> Answer:
    return lambda body: JSONResponse(answer)


def broken_stream(text: str) -> Answer:
    """One piece, and then the end without [DONE]."""
    return lambda body: Response(_event(body, text), media_type="text/event-stream")


def failing_stream(text: str, message: str) -> Answer:
    """One piece, and then an error in the stream."""
    failure = f"data: {json.dumps({'error': {'message': message}})}\n\n"
    return lambda body: Response(_event(body, text) + failure, media_type="text/event-stream")


def _event(body: dict[str, Any], text: str, finish: str | None = None) -> str:
    said = {"delta": {"content": text}} if "messages" in body else {"text": text}
    return f"data: {json.dumps({'choices': [{'index': 0, 'finish_reason': finish, **said}]})}\n\n"


@contextmanager
def scripted_server(options: ServeOptions) -> Iterator[Scripted]:
    """The page and a scripted API on a free port of the loopback."""
    scripted = Scripted()
    app = FastAPI()
    app.router.routes.extend(page_routes(options))

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "scripted", "object": "model"}]}

    @app.post("/v1/{path:path}")
    async def answer(path: str, request: Request) -> Response:
        body = await request.json()
        scripted.asked.append((f"/v1/{path}", body, request.headers.get("authorization")))
        reply = scripted.answers.pop(0) if len(scripted.answers) > 1 else scripted.answers[0]
        return reply(body)

    with running(app) as url:
        scripted.url = url
        yield scripted


@contextmanager
def running(app: Any) -> Iterator[str]:
    """An ASGI application on a free port of the loopback; the address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
