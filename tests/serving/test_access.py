from __future__ import annotations

import dataclasses
import hmac
from typing import Any

import pytest

from kosmos.errors import ConfigError, UsageError
from kosmos.serving.access import HostNames, Keys, Origins, is_loopback, refuse_unsafe
from kosmos.serving.options import ServeOptions

KEY = "k" * 32


def test_keys() -> None:
    keys = Keys(["first-key", KEY])
    assert (
        keys.opens(b"Bearer first-key") and keys.opens(b"bearer " + KEY.encode()) and keys.opens(b"Bearer  first-key")
    )
    for wrong in (
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer first-ke",
        b"Basic first-key",
        b"first-key",
        b"Bearer \xff",
    ):
        assert not keys.opens(wrong)
    assert not Keys([]) and not Keys([]).opens(b"Bearer ")


def test_a_wrong_key_is_compared_like_a_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is given, every key is compared, by digests of one length that nobody outside can foresee."""
    seen: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        seen.append((left, right))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys = Keys([KEY, "another-key", "x"])
    given = (KEY.encode(), KEY[:-1].encode() + b"x", b"", b"y" * 10_000, b"another-key", b"\xff\x00")
    for one in given:
        seen.clear()
        keys.opens(b"Bearer " + one)
        assert len(seen) == 3
        assert {len(part) for pair in seen for part in pair} == {64}
    assert Keys([KEY])._digests != Keys([KEY])._digests


def test_a_host_beyond_loopback_needs_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "", "example.org", "127.0.0.1.example.org"):
        with pytest.raises(UsageError, match="without a key"):
            refuse_unsafe(ServeOptions(host=host))
        refuse_unsafe(ServeOptions(host=host, api_keys=(KEY,)))
        with pytest.raises(ConfigError, match="guessed"):
            refuse_unsafe(ServeOptions(host=host, api_keys=("short",)))
    for host in ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"):
        assert is_loopback(host)
        refuse_unsafe(ServeOptions(host=host))


@pytest.mark.parametrize(
    "changes",
    [
        {"api_keys": ("",)},
        {"api_keys": ("two words",)},
        {"cors_origins": ("*",)},
        {"cors_origins": ("https://*.example.org",)},
        {"cors_origins": ("https://example.org/",)},
        {"cors_origins": ("example.org",)},
        {"remote_hosts": ("*.example.org",)},
        {"remote_hosts": ("https://example.org",)},
        {"remote_hosts": ("Example.org",)},
        {"remote_hosts": ("localhost",)},
        {"remote_hosts": ("127.0.0.1",)},
    ],
)
def test_options_that_cannot_work(changes: dict[str, Any]) -> None:
    option = {"api_keys": "an API key", "cors_origins": "--cors-origin", "remote_hosts": "--allow-image-host"}
    with pytest.raises(ConfigError, match=f"^{option[next(iter(changes))]}: "):
        refuse_unsafe(dataclasses.replace(ServeOptions(), **changes))


def test_names_of_a_server_on_loopback() -> None:
    names = HostNames(ServeOptions(host_names=("Chat.Example.org",)))
    for host in (b"127.0.0.1:8000", b"localhost", b"LOCALHOST:1", b"[::1]:8000", b"chat.example.org"):
        assert names.knows(host)
    for wrong in (None, b"", b"evil.example", b"127.0.0.1.evil.example", b"localhost.evil.example:8000", b"\xff"):
        assert not names.knows(wrong)
    assert HostNames(ServeOptions(host="0.0.0.0", api_keys=(KEY,))).knows(b"anything.example")


def test_origins() -> None:
    origins = Origins(ServeOptions(cors_origins=("https://chat.example.org",)))
    host = b"127.0.0.1:8000"
    for origin in (None, b"http://127.0.0.1:8000", b"https://chat.example.org", b"HTTPS://Chat.Example.org"):
        assert origins.admits(origin, host)
    for origin in (b"null", b"", b"http://127.0.0.1", b"http://127.0.0.1:8001", b"http://chat.example.org", b"evil"):
        assert not origins.admits(origin, host)
    assert not origins.admits(b"http://evil.example", None)
