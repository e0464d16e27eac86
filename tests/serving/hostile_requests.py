"""Requests that mean harm, each with the status that it must be refused with."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.serving.pictures import data_url, picture, png_bomb
from tests.serving.server_process import KEY, ServerProcess

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
SCORE = "/v1/score"
LISTED = ("pictures.example", socket.gethostname().lower() or "this-machine.example")
_MEGABYTE = bytes(1 << 20)


@dataclass(frozen=True)
class Attack:
    """`run` gives the status of the answer, 0 for a connection closed without one."""

    name: str
    run: Callable[[ServerProcess], int]
    statuses: tuple[int, ...]


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 2, **more}


def with_picture(url: str) -> dict[str, Any]:
    return chat([{"type": "text", "text": "an image"}, {"type": "image_url", "image_url": {"url": url}}])


def attacks() -> Iterator[Attack]:
    yield from _pictures()
    yield from _listed_hosts()
    yield from _bodies()
    yield from _numbers()
    yield from _callers()
    yield from _paths()
    yield from _below_http()


def _posted(name: str, body: Any, *statuses: int, path: str = CHAT) -> Attack:
    """Refused with an error of OpenAI's form."""

    def run(server: ServerProcess) -> int:
        answer = server.ask("POST", path, body)
        assert answer.status == 200 or answer.code is not None or answer.json["error"]["message"], name
        return answer.status

    return Attack(name, run, statuses or (400,))


def _pictures() -> Iterator[Attack]:
    bomb = png_bomb()
    assert len(bomb) < 2 << 20
    yield _posted("a small PNG that decodes to 825 MB", with_picture(data_url(bomb)), 413)
    yield _posted(
        "the same bomb for a completion",
        {"prompt": "<image>", "images": [data_url(bomb)], "max_tokens": 1},
        413,
        path=COMPLETIONS,
    )
    yield _posted("9 MiB of picture", with_picture(data_url(picture() + bytes(9 << 20))), 413)
    yield _posted("a picture cut short", with_picture(data_url(picture()[:40])))
    yield _posted("a page said to be a picture", with_picture(data_url(b"<svg onload=alert(1)>")))
    for url in (
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file://localhost/etc/passwd",
        "/etc/passwd",
        "../../../etc/passwd",
        "~/.ssh/id_rsa",
        "C:\\Windows\\win.ini",
        "\\\\host\\share\\a.png",
        "http://127.0.0.1/",
        "http://localhost:8000/metrics",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://192.168.0.1/",
        "https://example.org/a.png",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "dict://127.0.0.1:11211/stat",
        "jar:file:///a!/b",
        "data:text/html;base64,PGI+",
        "data:image/svg+xml;base64,PHN2Zy8+",
        " data:image/png;base64,AAAA",
    ):
        yield _posted(f"a picture at {url}", with_picture(url))


def _listed_hosts() -> Iterator[Attack]:
    """Of a server that fetches from LISTED, one of which is this very machine."""
    for url in (
        "https://evil.example/a.png",
        f"https://{LISTED[0]}.evil.example/a.png",
        f"https://evil.example/#@{LISTED[0]}/",
        f"https://evil.example\\@{LISTED[0]}/",
        f"http://{LISTED[0]}/a.png",
        f"https://{LISTED[0]}:22/",
        f"https://user:secret@{LISTED[0]}/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://100.64.0.1/",
        "https://localhost/",
    ):
        yield _posted(f"where hosts are listed, {url}", with_picture(url))
    own = f"https://{LISTED[1]}/a.png"
    # 502 where this machine's name leads nowhere, or to a public address that does not answer.
    yield _posted(f"a listed name that leads inside, {own}", with_picture(own), 400, 502, 504)


def _bodies() -> Iterator[Attack]:
    parts = [{"type": "text", "text": "a"}] * 10_000
    yield _posted("10,000 parts", chat(parts))
    yield _posted("257 parts", chat(parts[:257]))
    yield _posted("1,000 messages", {"messages": [{"role": "user", "content": "a"}] * 1000, "max_tokens": 1})
    small = {"type": "image_url", "image_url": {"url": data_url(picture("GIF", (2, 2)), "gif")}}
    yield _posted("17 pictures", chat([small] * 17))
    yield _posted("10,000 candidates", {"prompt": "a", "candidates": ["b"] * 10_000}, path=SCORE)
    yield _posted("10,000 prompts", {"prompt": ["a"] * 10_000, "max_tokens": 1}, path=COMPLETIONS)
    yield _posted("a prompt of a million words", chat("cat " * 1_000_000))
    for name, body in {
        "nested 100,000 deep": b"[" * 100_000,
        "nested 1,000 deep": b'{"messages":' + b"[" * 1000 + b"]" * 1000 + b"}",
        "ten million empty objects": b"[" + b"{}," * 10_000_000 + b"{}]",
        "a number of a million digits": b'{"max_tokens":' + b"9" * 1_000_000 + b"}",
        "NaN": b'{"messages":[{"role":"user","content":"a"}],"temperature":NaN}',
        "Infinity": b'{"messages":[{"role":"user","content":"a"}],"temperature":Infinity}',
        "1e999": b'{"messages":[{"role":"user","content":"a"}],"temperature":1e999}',
        "a key given twice": b'{"messages":[{"role":"user","content":"a"}],"max_tokens":1,"max_tokens":2}',
        "invalid UTF-8": b'{"messages":[{"role":"user","content":"\xff\xfe"}]}',
        "an encoded surrogate": b'{"messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
        "half a surrogate pair": b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        "a null character": b'{"messages":[{"role":"user","content":"a\\u0000b"}]}',
        "a null byte": b'{"messages":[{"role":"user","content":"a\0b"}]}',
        "UTF-16": '{"messages":[]}'.encode("utf-16"),
        "no JSON": b"messages=hello",
        "nothing": b"",
        "a list": b"[]",
        "null": b"null",
        "a string": b'"a"',
    }.items():
        yield _posted(name, body)
    yield Attack("2 GB announced", _announced(2 << 30), (413,))
    yield Attack("2 GB sent in chunks", _streamed, (413,))
    yield Attack("a length that is a lie", _lying, (400,))


def _numbers() -> Iterator[Attack]:
    for name, value in {
        "n": 10**6,
        "max_tokens": 10**9,
        "max_completion_tokens": 10**9,
        "num_beams": 10**6,
        "top_logprobs": 10**6,
        "min_tokens": 10**9,
    }.items():
        yield _posted(f"{name} of {value}", chat("a", **{name: value}))
    for name, wrong in {
        "n": 0,
        "max_tokens": -1,
        "temperature": -1,
        "top_p": 5,
        "num_beams": 2.5,
        "seed": 10**30,
    }.items():
        yield _posted(f"{name} of {wrong}", chat("a", **{name: wrong}))
    yield _posted("an unknown field", chat("a", system_prompt_file="/etc/passwd"))
    yield _posted("another model", chat("a", model="../../etc/passwd"), 404, 400)
    yield _posted("5,000 stop strings", chat("a", stop=["b"] * 5000))


def _callers() -> Iterator[Attack]:
    def asked(name: str, status: int, headers: dict[str, str | None], method: str = "POST", body: Any = None) -> Attack:
        def run(server: ServerProcess) -> int:
            answer = server.ask(method, CHAT, body if method != "POST" else chat("a"), headers)
            assert "access-control-allow-origin" not in answer.headers, name
            assert answer.code is not None, name
            return answer.status

        return Attack(name, run, (status,))

    yield asked("no key", 401, {"Authorization": None})
    for wrong in ("wrong", KEY[:-1], KEY[:-1] + "x", KEY + "x", KEY.upper(), "", "é"):
        encoded = f"Bearer {wrong}".encode().decode("latin-1")
        yield asked(f"the key {wrong!r}", 401, {"Authorization": encoded})
    yield asked("the key as a password", 401, {"Authorization": "Basic " + base64.b64encode(KEY.encode()).decode()})
    yield asked("a page of another origin", 403, {"Origin": "https://evil.example"})
    yield asked("a page of no origin", 403, {"Origin": "null"})
    yield asked("a page on another port", 403, {"Origin": "http://127.0.0.1:1"})
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    yield asked("a preflight of another origin", 403, dict(preflight), "OPTIONS")
    yield asked("a form", 415, {"Content-Type": "application/x-www-form-urlencoded"})
    yield asked("plain text", 415, {"Content-Type": "text/plain"})
    yield asked("no type", 415, {"Content-Type": None})
    yield asked("a compressed body", 415, {"Content-Encoding": "gzip"})
    yield asked("a name pointed here", 421, {"Host": "evil.example"})
    yield asked("a name that begins like ours", 421, {"Host": "127.0.0.1.evil.example"})


def _paths() -> Iterator[Attack]:
    for path in (
        "/../../../../etc/passwd",
        "/static/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%252e%252e/etc/passwd",
        "/..\\..\\etc\\passwd",
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/v1/models/%00",
    ):
        yield Attack(f"the path {path}", _requested(path), (400,))
    for path in ("/etc/passwd", "//etc/passwd", "/.env", "/v1/models/passwd", "/page.html", "/docs"):
        yield Attack(f"the path {path}", _requested(path), (404,))


def _below_http() -> Iterator[Attack]:
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    )
    smuggled = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for name, lines in {
        "two lengths": "Content-Length: 5\r\nContent-Length: 6\r\n",
        "two lengths in one": "Content-Length: 5, 6\r\n",
        "a length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "chunks twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "unknown transfer": "Transfer-Encoding: xchunked\r\n",
        "a negative length": "Content-Length: -1\r\n",
        "a length in hexadecimal": "Content-Length: 0x10\r\n",
        "a blank before the colon": "Transfer-Encoding : chunked\r\n",
        "a null byte in a header": "X-A: a\0b\r\n",
        "a header of 1 MB": f"X-A: {'a' * (1 << 20)}\r\n",
        "10,000 headers": "X-A: a\r\n" * 10_000,
    }.items():
        yield Attack(name, _sent(head.encode() + lines.encode() + b"\r\n" + smuggled), (400, 431, 501))
    yield Attack("no Host", _sent(b"GET /health HTTP/1.1\r\n\r\n"), (400, 421))
    yield Attack(
        "two Hosts", _sent(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n"), (400, 421)
    )
    yield Attack(
        "a path of 1 MB", _sent(b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), (400, 431)
    )
    yield Attack(
        "a proxy's request", _sent(b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n"), (400, 401, 405)
    )
    yield Attack("TLS", _sent(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200))), (400,))
    yield Attack("HTTP/2", _sent(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (400, 421))
    yield Attack("a websocket", _upgraded(), (401, 404, 405, 426))


def _announced(length: int) -> Callable[[ServerProcess], int]:
    def run(server: ServerProcess) -> int:
        return _status(server.raw(_head(f"Content-Length: {length}"), _MEGABYTE))

    return run


def _streamed(server: ServerProcess) -> int:
    """2 GB made on the way; the server hears a part of it and answers, and sending on comes to an end."""
    sent, chunk = 0, b"100000\r\n" + _MEGABYTE + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(_head("Transfer-Encoding: chunked"))
            while sent < 2 << 30:
                connection.sendall(chunk)
                sent += len(_MEGABYTE)
        answer = server.until_closed(connection)
    assert 32 << 20 <= sent < 256 << 20
    return _status(answer)


def _lying(server: ServerProcess) -> int:
    """The first ten bytes are a body that is no JSON, the rest would be the next request."""
    return _status(server.raw(_head("Content-Length: 10"), *[_MEGABYTE] * 64))


def _requested(path: str) -> Callable[[ServerProcess], int]:
    def run(server: ServerProcess) -> int:
        line = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
        answer = server.raw(line.encode())
        assert b"root:" not in answer
        return _status(answer)

    return run


def _sent(data: bytes) -> Callable[[ServerProcess], int]:
    def run(server: ServerProcess) -> int:
        answer = server.raw(data)
        assert answer.count(b"HTTP/1.1 ") <= 1, answer  # nothing smuggled was answered
        return _status(answer)

    return run


def _upgraded() -> Callable[[ServerProcess], int]:
    lines = "GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    lines += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

    def run(server: ServerProcess) -> int:
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            connection.sendall(lines.encode())
            return _status(connection.recv(1 << 16))

    return run


def slow_headers(server: ServerProcess, seconds: float) -> tuple[int, float]:
    """Status of an answer to headers that come a byte at a time, and the seconds until the connection ended."""
    return _drip(server, b"", b"GET /health HTTP/1.1\r\nX-Slow: " + b"a" * 10_000, seconds)


def slow_body(server: ServerProcess, seconds: float) -> tuple[int, float]:
    return _drip(server, _head("Content-Length: 10000"), b" " * 10_000, seconds)


def _drip(server: ServerProcess, first: bytes, rest: bytes, seconds: float) -> tuple[int, float]:
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(first)
        connection.settimeout(0.1)
        for byte in rest:
            if time.monotonic() - start > seconds:
                return -1, time.monotonic() - start
            with contextlib.suppress(TimeoutError):
                connection.sendall(bytes([byte]))
                if answer := connection.recv(1 << 16):
                    return _status(answer), time.monotonic() - start
    return -1, time.monotonic() - start


def _head(*lines: str) -> bytes:
    first = (
        f"POST {CHAT} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/json",
    )
    return "\r\n".join([*first, *lines, "", ""]).encode()


def _status(answer: bytes) -> int:
    if not answer:
        return 0
    first, _, rest = answer.partition(b"\r\n")
    status = int(first.split(b" ")[1])
    content = rest.partition(b"\r\n\r\n")[2]
    if status >= 400 and content:
        error, _ = json.JSONDecoder().raw_decode(content.decode())
        assert set(error) == {"error"}, content  # OpenAI's form, down to broken HTTP
    return status
