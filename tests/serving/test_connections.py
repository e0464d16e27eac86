from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from kosmos.serving.connections import uvicorn_settings  # noqa: E402
from kosmos.serving.options import ServeOptions  # noqa: E402

OPTIONS = ServeOptions(header_timeout_s=0.5, write_timeout_s=0.5, max_connections=3, max_header_bytes=2000)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
left = threading.Event()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers `ok`; on /endless, bytes without an end until the client has gone."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    with contextlib.suppress(OSError):
        while scope["path"] == "/endless" and not left.is_set():
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="critical", **uvicorn_settings(OPTIONS))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        left.set()
        server.should_exit = True
        thread.join()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def all_of(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(1 << 16):
            received += chunk
    return received


def test_headers_that_never_end(port: int) -> None:
    for first in (b"", b"GET / HTTP/1.1\r\nHost"):
        with connected(port) as connection:
            connection.sendall(first)
            start = time.monotonic()
            assert all_of(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert 0.3 < time.monotonic() - start < 5


def test_headers_that_never_end_after_an_answer(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(GET)
        assert connection.recv(1 << 12).startswith(b"HTTP/1.1 200 OK\r\n")
        start = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 30:  # each would put off a timer that waits for silence
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert all_of(connection).startswith((b"", b"HTTP/1.1 408"))
        assert 0.3 < time.monotonic() - start < 2.4  # all bytes take 2.5 s


def test_several_requests_on_one_connection(port: int) -> None:
    with connected(port) as connection:
        for _ in range(3):
            connection.sendall(GET)
            received = b""
            while b"ok" not in received:
                received += connection.recv(1 << 12)
            time.sleep(0.3)  # longer in all than the time for headers
        connection.sendall(GET * 3)
        received = b""
        while received.count(b"200 OK") < 3:
            received += connection.recv(1 << 12)
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_client_that_stops_reading_is_cut_off(port: int) -> None:
    left.clear()
    with connected(port) as connection:
        connection.sendall(GET.replace(b"/ ", b"/endless "))
        time.sleep(1.5)
        start = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while connection.recv(1 << 20):
                assert time.monotonic() - start < 5
    left.set()


def test_the_number_of_connections(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(port))
        time.sleep(0.1)
        with connected(port) as one_more:
            assert all_of(one_more).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    time.sleep(0.1)
    with connected(port) as later:
        later.sendall(GET)
        assert later.recv(1 << 12).startswith(b"HTTP/1.1 200 OK\r\n")


def test_headers_too_long_and_no_http(port: int) -> None:
    for data in (b"GET / HTTP/1.1\r\nA: " + b"a" * 5000, b"\x16\x03\x01hello\r\n\r\n", b"GET /\r\n\r\n\r\n"):
        with connected(port) as connection:
            connection.sendall(data)
            answer = all_of(connection)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b'"code": "bad_request"' in answer
