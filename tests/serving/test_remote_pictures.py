from __future__ import annotations

import asyncio
import dataclasses
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kosmos.data.fetch.addresses import AddressRules
from kosmos.serving.options import ServeOptions
from kosmos.serving.pictures import read_picture
from kosmos.serving.refusals import Refusal
from kosmos.serving.remote_pictures import fetch_picture
from tests.serving.pictures import picture
from tests.serving.tls_host import NAME, TlsHost, answer, contexts

OPTIONS = ServeOptions(remote_hosts=(NAME, "other.example"), remote_timeout_s=5, max_image_bytes=100_000)
LOOPBACK = AddressRules(networks=["127.0.0.1/32"])


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return contexts(tmp_path_factory.mktemp("tls"))


def forbidden_lookup(host: str) -> list[str]:
    raise AssertionError(f"{host} was looked up")


def refusal(url: str, options: ServeOptions = OPTIONS, lookup: Callable[[str], list[str]] = forbidden_lookup) -> int:
    with pytest.raises(Refusal) as caught:
        asyncio.run(fetch_picture(url, options, "here", lookup=lookup))
    assert caught.value.param == "here" and "127.0.0.1" not in caught.value.message  # nothing about our own network
    return caught.value.status


def fetch(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    given: bytes,
    *,
    endless: bytes = b"",
    options: ServeOptions = OPTIONS,
    rules: AddressRules = LOOPBACK,
    name: str = NAME,
    lookup: Callable[[str], list[str]] = lambda host: ["127.0.0.1"],
) -> tuple[bytes | int, TlsHost]:
    """What fetching from a host that gives this answer comes to: bytes, or the refusal's status."""

    async def run() -> tuple[bytes | int, TlsHost]:
        host = TlsHost()
        host.answer, host.endless = given, endless
        async with host.running(tls[0]):
            url = f"https://{name}:{host.port}/a.png"
            try:
                return await fetch_picture(url, options, "here", lookup=lookup, rules=rules, tls=tls[1]), host
            except Refusal as refusal:
                return refusal.status, host

    return asyncio.run(run())


def test_a_listed_host(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    looked_up: list[str] = []

    def lookup(host: str) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    got, host = fetch(tls, answer(200, picture()), lookup=lookup)
    assert got == picture() and host.asked == ["GET /a.png HTTP/1.1"] and looked_up == [NAME]


@pytest.mark.parametrize(
    "url",
    [
        f"http://{NAME}/a.png",
        f"https://{NAME}:8443/a.png",
        f"https://user:secret@{NAME}/a.png",
        "https://not-listed.example/a.png",
        f"https://{NAME}.evil.example/a.png",
        f"https://evil.example/?{NAME}",
        f"https://evil.example#@{NAME}/",
        f"https://evil.example\\@{NAME}/",
        "https://127.0.0.1/a.png",
        "https://127.1/a.png",
        "https://2130706433/a.png",
        "https://0x7f000001/a.png",
        "https://0177.0.0.1/a.png",
        "https://127.0.0.1./a.png",
        "https://[::1]/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://[::ffff:7f00:1]/a.png",
        "https://[64:ff9b::7f00:1]/a.png",
        "https://[fe80::1%25eth0]/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://100.64.0.1/",
        "https://localhost/a.png",
        "https:///a.png",
        "https://",
        "https:" + "a" * 10_000,
    ],
)
def test_what_is_never_looked_up(url: str) -> None:
    assert refusal(url) == 400


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["192.168.1.1"],
        ["172.31.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["::1"],
        ["::"],
        ["fe80::1"],
        ["fd00::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::a00:1"],
        ["2002:7f00:1::"],
        ["224.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
    ],
)
def test_names_that_lead_inside(addresses: list[str]) -> None:
    assert refusal(f"https://{NAME}/a.png", lookup=lambda host: addresses) == 400


def test_a_name_that_changes_is_resolved_once(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Allowed when asked first, inside when asked again: nobody asks again, and the socket is looked at as well."""
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]]
    asked = 0

    def lookup(host: str) -> list[str]:
        nonlocal asked
        asked += 1
        return answers[asked - 1]

    got, host = fetch(tls, answer(200, picture()), lookup=lookup)
    assert got == picture() and asked == 1 and len(host.asked) == 1
    got, host = fetch(tls, answer(200, picture()), lookup=lambda _: ["127.0.0.2"])
    assert got == 400 and host.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", [f"https://{NAME}/b.png", "http://127.0.0.1/", "file:///etc/passwd"])
def test_redirects_are_refused(tls: tuple[ssl.SSLContext, ssl.SSLContext], status: int, where: str) -> None:
    got, host = fetch(tls, answer(status, b"", Location=where))
    assert got == 400 and len(host.asked) == 1


def test_other_answers(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    assert fetch(tls, answer(404, picture()))[0] == 502
    assert fetch(tls, b"SSH-2.0-OpenSSH\r\n")[0] == 502
    assert fetch(tls, answer(200, picture())[:-10])[0] == 502  # cut short
    assert fetch(tls, answer(200, b"\x1f\x8b broken", Content_Encoding="gzip"))[0] == 502


def test_caps(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    assert fetch(tls, answer(200, bytes(100_001)))[0] == 413
    assert fetch(tls, b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n", endless=bytes(10_000))[0] == 413
    start = time.monotonic()
    assert fetch(tls, b"", options=dataclasses.replace(OPTIONS, remote_timeout_s=0.2))[0] == 504
    assert time.monotonic() - start < 5


def test_certificates_must_be_of_the_name(tls: tuple[ssl.SSLContext, ssl.SSLContext], tmp_path: Path) -> None:
    got, host = fetch(tls, answer(200, picture()), name="other.example")
    assert got == 502 and "GET" not in "".join(host.asked)


def test_https_is_off_unless_a_host_is_listed() -> None:
    for options in (ServeOptions(), OPTIONS):
        with pytest.raises(Refusal) as caught:
            asyncio.run(read_picture("https://127.0.0.1/a.png", options, "here"))
        assert caught.value.status == 400
