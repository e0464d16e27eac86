"""The outermost layer of the server: what it lets through has been asked by someone who may, in full, within limits.

In this order: the name the server was called by, the path, the page that calls, the key, the headers, the body, its
JSON. Nothing of a body is read before the key is known to be right.
"""

from __future__ import annotations

import json
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kosmos.serving.access import HostNames, Keys, Origins, refuse_unsafe
from kosmos.serving.body_limit import BodyReader, ClientLeft, throw_away
from kosmos.serving.options import ServeOptions
from kosmos.serving.refusals import Refusal
from kosmos.serving.strict_json import parse_json

__all__ = ["guard", "refuse_unsafe"]

_OPEN_PATHS = frozenset({"/health", "/ready"})
_PAGE_PATHS = frozenset({"/", "/favicon.ico"})
# Dot segments, backslashes and control characters mean different things to a proxy and to us; no route has any.
_ODD_PATH = re.compile(rb"(?i)(?:^|/|%2f|\\|%5c)(?:\.|%2e){1,2}(?:$|/|%2f|\\|%5c)|\\|%5c|%2f|%00|%25|[\x00-\x20\x7f]")
_MOST_HEADERS = 100
_CLOSE = {"Connection": "close"}  # what comes behind such a request is not believed either

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
)
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST"),
    # OpenAI's client sends names of its own; `*` takes all but the first.
    (b"access-control-allow-headers", b"authorization, content-type, *"),
    (b"access-control-max-age", b"600"),
)

Headers = dict[bytes, list[bytes]]


def guard(app: ASGIApp, options: ServeOptions) -> ASGIApp:
    """`app` behind all guards. Raises UsageError and ConfigError as `refuse_unsafe` does."""
    refuse_unsafe(options)
    return _Guard(app, options)


class _Guard:
    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app = app
        self._options = options
        self._keys = Keys(options.api_keys)
        self._names = HostNames(options)
        self._origins = Origins(options)
        self._bodies = BodyReader(options)
        self._open = _OPEN_PATHS | (_PAGE_PATHS if options.page else frozenset())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})
            return
        headers: Headers = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        origin = _one(headers, b"origin")
        cross = origin if origin is not None and self._origins.lists(origin) else None
        answer = _SafeSend(send, cross)
        arriving = _Arriving(receive)
        held = 0
        try:
            try:
                self._admit(scope, headers, origin)
                if scope["method"] == "OPTIONS" and cross is not None:
                    await answer.preflight()
                    return
                body = await self._read_body(headers, arriving)
            except Refusal as refusal:
                await answer.refuse(refusal, arriving if _has_body(headers) and not arriving.complete else None)
                return
            except ClientLeft:
                return
            held = len(body or b"")
            replay = receive if body is None else _Replay(body, receive)
            del body  # it may be large, and the answer may take long
            await self._app(scope, replay, answer)
        finally:
            self._bodies.release(held)

    def _admit(self, scope: Scope, headers: Headers, origin: bytes | None) -> None:
        """Raises Refusal unless the caller may ask this."""
        # The parser looks at this too, but only while the headers are incomplete.
        size = len(scope.get("raw_path", b"")) + len(scope["query_string"])
        size += sum(len(name) + len(value) for name, value in scope["headers"])
        if size > self._options.max_header_bytes or len(scope["headers"]) > _MOST_HEADERS:
            raise Refusal(431, "the headers are too many or too long", code="headers_too_large", headers=_CLOSE)
        hosts = headers.get(b"host", [])
        host = hosts[0] if len(hosts) == 1 else None
        if not self._names.knows(host):
            raise Refusal(
                421,
                "the server is not known by the name in the Host header; call it by 127.0.0.1 or localhost,"
                " or name it to the server with --host-name",
                code="unknown_host",
                headers=_CLOSE,
            )
        if _ODD_PATH.search(scope.get("raw_path") or scope["path"].encode()) or len(headers.get(b"origin", [])) > 1:
            raise Refusal(400, "no client writes such a path or Origin header", code="bad_request", headers=_CLOSE)
        if not self._origins.admits(origin, host):
            raise Refusal(
                403,
                "a page of another origin may not call this server; name its origin to the server with --cors-origin",
                type="permission_error",
                code="origin_not_allowed",
            )
        preflight = scope["method"] == "OPTIONS" and origin is not None and self._origins.lists(origin)
        if not self._keys or scope["path"] in self._open or preflight:
            return
        if not self._keys.opens(_one(headers, b"authorization")):
            raise Refusal(
                401,
                "an API key of this server is needed: send the header Authorization: Bearer KEY",
                type="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body, checked, or None where there is none. Raises Refusal and ClientLeft."""
        length = self._bodies.check_headers(headers)
        if not length and b"transfer-encoding" not in headers:
            return None  # the application says whether it wants one
        kind = (_one(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            # Forms and plain text are what a page of another origin can send without asking first.
            raise Refusal(415, "the body is JSON: send Content-Type: application/json", code="unsupported_media_type")
        if b"content-encoding" in headers:
            raise Refusal(415, "a compressed body is not taken; send it as it is", code="unsupported_encoding")
        body = await self._bodies.read(receive, length)
        try:
            parse_json(body)
        except BaseException:
            self._bodies.release(len(body))
            raise
        return body


class _Arriving:
    """`receive` that knows when the body is complete."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.complete = self.complete or not message.get("more_body", False)
        return message


class _Replay:
    """`receive` of a body that was read already; what comes after it, such as the client's leaving, passes through."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _SafeSend:
    """`send` that adds the security headers, and the CORS ones for an origin that is listed."""

    def __init__(self, send: Send, cross_origin: bytes | None) -> None:
        self._send = send
        self._cross_origin = cross_origin

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            given = {name.lower() for name, _ in headers}
            added = dict(_SECURITY_HEADERS)
            if self._cross_origin is not None:
                added[b"cross-origin-resource-policy"] = b"cross-origin"
                added[b"access-control-allow-origin"] = self._cross_origin
                added[b"access-control-expose-headers"] = b"retry-after"
            added[b"vary"] = b"origin"
            message = {**message, "headers": headers + [pair for pair in added.items() if pair[0] not in given]}
        await self._send(message)

    async def preflight(self) -> None:
        await self({"type": "http.response.start", "status": 204, "headers": list(_PREFLIGHT)})
        await self({"type": "http.response.body", "body": b""})

    async def refuse(self, refusal: Refusal, unread: Receive | None) -> None:
        """Answer with the refusal. `unread`: a body may still be coming, so the connection ends after it."""
        content = json.dumps(refusal.body()).encode()
        headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        if unread is not None and "Connection" not in refusal.headers:
            headers.append((b"connection", b"close"))
        await self({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self({"type": "http.response.body", "body": content, "more_body": unread is not None})
        if unread is not None:
            await throw_away(unread)
            await self({"type": "http.response.body", "body": b""})


def _one(headers: Headers, name: bytes) -> bytes | None:
    """The header given once; one given twice counts as none."""
    values = headers.get(name, [])
    return values[0] if len(values) == 1 else None


def _has_body(headers: Headers) -> bool:
    return b"content-length" in headers or b"transfer-encoding" in headers
