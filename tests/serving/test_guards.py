from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kosmos.errors import UsageError
from kosmos.serving.guards import guard
from kosmos.serving.options import ServeOptions

KEY = "a-key-of-sixteen-or-more"


class App:
    """Notes what reaches it and answers with the body it got."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        body = (await receive()).get("body", b"") if scope["method"] == "POST" else b""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"own")]})
        await send({"type": "http.response.body", "body": body})


async def called(
    app: ASGIApp,
    method: str = "POST",
    path: str = "/v1/score",
    chunks: Iterable[bytes] = (b"{}",),
    pause: float = 0.0,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what `app` answers."""
    if method == "POST" and "content_length" not in headers:
        headers["transfer_encoding"] = "chunked"
    given = {"host": "127.0.0.1:8000", "content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    left = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(pause)
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    assert all(message.get("more_body") for message in sent[1:-1]) and not sent[-1].get("more_body")
    return sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0]["headers"]}, body


def call(options: ServeOptions, **request: Any) -> tuple[int, dict[str, str], Any]:
    status, headers, body = asyncio.run(called(guard(App(), options), **request))
    return status, headers, json.loads(body) if body else None


def test_a_body_arrives_whole_and_once() -> None:
    status, headers, body = call(ServeOptions(), chunks=[b'{"a":', b"[1,", b"2]}"])
    assert (status, body) == (200, {"a": [1, 2]})
    assert headers["x-frame-options"] == "own" and headers["x-content-type-options"] == "nosniff"


def test_an_unsafe_server_is_never_made() -> None:
    with pytest.raises(UsageError):
        guard(App(), ServeOptions(host="0.0.0.0"))


def test_the_limit_of_a_body() -> None:
    options = ServeOptions(max_body_bytes=10)
    assert call(options, chunks=[b'"12345678"'])[0] == 200
    assert call(options, chunks=[b'"1234', b'56789"'])[2]["error"]["code"] == "body_too_large"
    assert call(options, content_length="11")[0] == 413
    assert call(options, content_length="9" * 30)[2]["error"]["code"] == "ambiguous_length"


def test_a_slow_body() -> None:
    status, headers, body = call(ServeOptions(body_timeout_s=0.05), chunks=[b" "] * 3, pause=0.04, content_length="3")
    assert (status, body["error"]["code"], headers["connection"]) == (408, "body_timeout", "close")


def test_all_bodies_together_are_bounded_and_given_back() -> None:
    options = ServeOptions(max_waiting_body_bytes=100)
    body = b'"' + b"a" * 58 + b'"'
    inside = 0

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal inside
        inside += 1
        await asyncio.sleep(0.05)
        await App()(scope, receive, send)

    async def run() -> tuple[list[int], list[int]]:
        app = guard(slow, options)
        first = await asyncio.gather(*(called(app, chunks=[body]) for _ in range(3)))
        broken = [await called(app, chunks=[body[:-1]]) for _ in range(3)]
        broken += [await called(app, chunks=[body[:50], b"x" * 60]) for _ in range(2)]
        after = [await called(app, chunks=[body]) for _ in range(3)]
        assert [status for status, *_ in broken] == [400] * 3 + [503] * 2
        return sorted(status for status, *_ in first), [status for status, *_ in after]

    first, after = asyncio.run(run())
    assert first == [200, 503, 503] and after == [200] * 3 and inside == 4


def test_nothing_of_a_body_is_read_before_the_key() -> None:
    options = ServeOptions(api_keys=(KEY,))
    assert call(options, authorization=f"Bearer {KEY}")[0] == 200
    status, headers, body = call(options, chunks=[b"x" * 10] * 3, authorization="Bearer wrong")
    assert (status, headers["www-authenticate"], body["error"]["code"]) == (401, "Bearer", "invalid_api_key")


def test_a_listed_origin() -> None:
    options = ServeOptions(api_keys=(KEY,), cors_origins=("https://chat.example.org",))
    origin = "https://chat.example.org"
    asked = {"access_control_request_method": "POST"}
    status, headers, _ = call(options, method="OPTIONS", origin=origin, **asked)
    assert status == 204 and headers["access-control-allow-origin"] == origin
    assert "authorization" in headers["access-control-allow-headers"] and headers["vary"] == "origin"
    status, headers, _ = call(options, origin=origin, authorization=f"Bearer {KEY}")
    assert status == 200 and headers["access-control-allow-origin"] == origin
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert call(options, origin=origin)[0] == 401  # the origin does not stand for the key
    status, _, body = call(options, method="OPTIONS", origin="https://evil.example", **asked)
    assert status == 403 and body["error"]["message"].endswith("with --cors-origin")
    same = call(options, origin="http://127.0.0.1:8000", authorization=f"Bearer {KEY}")
    assert same[0] == 200 and "access-control-allow-origin" not in same[1]


def test_which_paths_are_open() -> None:
    options = ServeOptions(api_keys=(KEY,))
    for path, status in {
        "/health": 200,
        "/ready": 200,
        "/": 200,
        "/metrics": 401,
        "/health/": 401,
        "/HEALTH": 401,
    }.items():
        assert call(options, method="GET", path=path)[0] == status
    assert call(ServeOptions(api_keys=(KEY,), page=False), method="GET", path="/")[0] == 401


def test_a_client_that_left_before_its_body_was_complete() -> None:
    app = App()

    async def run() -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            raise AssertionError("nobody is there")

        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"5")]
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
        await guard(app, ServeOptions())(scope, receive, send)

    asyncio.run(run())
    assert app.paths == []


def test_no_websockets() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def run() -> None:
        await guard(App(), ServeOptions())({"type": "websocket", "path": "/", "headers": []}, receive, send)

    asyncio.run(run())
    assert [message["type"] for message in sent] == ["websocket.close"]
