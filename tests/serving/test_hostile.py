"""Everything that a stranger may send to a running server: refused with the right status, memory flat."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.inference.tiny import save_tiny
from tests.serving.hostile_requests import (
    CHAT,
    COMPLETIONS,
    LISTED,
    attacks,
    chat,
    slow_body,
    slow_headers,
    with_picture,
)
from tests.serving.pictures import data_url, picture
from tests.serving.server_process import KEY, ServerProcess, server_process

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

TIMEOUT_S = 2
CONNECTIONS = 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("hostile")
    limits = ["--header-timeout", str(TIMEOUT_S), "--body-timeout", str(TIMEOUT_S)]
    limits += ["--max-connections", str(CONNECTIONS)]
    for name in LISTED:
        limits += ["--allow-image-host", name]
    with server_process(save_tiny(folder), folder / "log.txt", limits, key=KEY) as running:
        yield running


def honest(server: ServerProcess) -> str:
    """The answer to a plain request, which must not change."""
    answer = server.ask("POST", CHAT, with_picture(data_url(picture())))
    assert answer.status == 200, answer.body
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


def test_every_attack_is_refused_and_memory_stays_flat(server: ServerProcess) -> None:
    before = honest(server)
    wrong = []
    server.forget_peak()
    resident = server.resident()
    for attack in attacks():
        status = attack.run(server)
        if status not in attack.statuses:
            wrong.append(f"{attack.name}: {status}, not {attack.statuses}")
    assert not wrong, "\n".join(wrong)
    assert honest(server) == before
    assert server.peak() - resident < 200 << 20  # of 825 MB, 2 GB, and 10 million objects of 64 bytes
    assert server.resident() - resident < 100 << 20
    logged = server.logged()
    assert "Traceback" not in logged and KEY not in logged and "an image" not in logged


def test_the_same_again_takes_no_more_memory(server: ServerProcess) -> None:
    honest(server)
    heavy = [attack for attack in attacks() if any(word in attack.name for word in ("825", "2 GB", "million"))]
    assert len(heavy) >= 5
    for attack in heavy:
        attack.run(server)
    resident = server.resident()
    for _ in range(2):
        for attack in heavy:
            assert attack.run(server) in attack.statuses
    assert server.resident() - resident < 40 << 20


def test_slow_loris(server: ServerProcess) -> None:
    """Headers and bodies that never end are cut off, and others are served meanwhile."""
    with ThreadPoolExecutor(20) as pool:
        heads = [pool.submit(slow_headers, server, 20.0) for _ in range(10)]
        bodies = [pool.submit(slow_body, server, 20.0) for _ in range(10)]
        time.sleep(0.5)
        start = time.monotonic()
        honest(server)
        assert time.monotonic() - start < 5
        ended = [future.result() for future in heads + bodies]
    assert {status for status, _ in ended} == {408}
    assert max(seconds for _, seconds in ended) < TIMEOUT_S + 5


def test_connections_are_capped(server: ServerProcess) -> None:
    """Idle ones beyond the cap are closed at once; those within it when their time for headers is over."""
    held = [socket.create_connection(("127.0.0.1", server.port), 30) for _ in range(CONNECTIONS)]
    try:
        time.sleep(0.3)
        assert server.raw(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        time.sleep(TIMEOUT_S + 0.5)
        assert server.ask("GET", "/health").status == 200
        assert all(connection.recv(1 << 12).startswith(b"HTTP/1.1 408 ") for connection in held)
    finally:
        for connection in held:
            connection.close()


def test_text_cannot_write_special_tokens(server: ServerProcess) -> None:
    """What spells a special token is text: more tokens than one, and no place for a picture."""

    def count(text: str) -> int:
        answer = server.ask("POST", COMPLETIONS, {"prompt": text, "max_tokens": 1})
        assert answer.status == 200, answer.body
        tokens: int = answer.json["usage"]["prompt_tokens"]
        return tokens

    plain = count("a")
    for special in ("</s>", "<s>", "<pad>", "<image>", "</image>", "</chunk>", "</doc>", "<mask>"):
        assert count("a" + special) >= plain + 3
    picture_slots = server.ask("POST", COMPLETIONS, {"prompt": "<image>", "images": ["x"], "max_tokens": 1})
    assert picture_slots.status == 400
    assert server.ask("POST", CHAT, chat("<image>")).status == 200


def test_headers_of_every_answer(server: ServerProcess) -> None:
    for path in ("/health", "/v1/models", "/nothing", "/"):
        headers = server.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers and "server" not in headers


def test_what_is_open_without_a_key(server: ServerProcess) -> None:
    for path in ("/health", "/ready", "/"):
        assert server.ask("GET", path, headers={"Authorization": None}).status == 200
    for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing", "/health/../metrics"):
        assert server.ask("GET", path, headers={"Authorization": None}).status in (400, 401)
