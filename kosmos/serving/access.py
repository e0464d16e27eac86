"""Who may ask: the key, the name the server was called by, the page that calls it, the address it listens on."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from ipaddress import ip_address

from kosmos.errors import ConfigError, UsageError
from kosmos.serving.options import ServeOptions

_SHORTEST_KEY = 16  # where other machines can try them
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Keys:
    """The keys of a server, compared so that the time taken says nothing about them.

    Only digests of one length are compared, made with a secret of this process, and always against every key.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._secret = secrets.token_bytes(32)
        self._digests = [self._digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def opens(self, authorization: bytes | None) -> bool:
        """Whether the header `Authorization: Bearer KEY` carries one of the keys."""
        scheme, _, given = (authorization or b"").partition(b" ")
        digest = self._digest(given.strip())
        found = 0
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return bool(found & (scheme.lower() == b"bearer"))

    def _digest(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, key=self._secret).digest()


def is_loopback(host: str) -> bool:
    """Whether listening there reaches only this machine."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def refuse_unsafe(options: ServeOptions) -> None:
    """Raise UsageError for options that open the server without a lock, ConfigError for values that cannot work."""
    if not is_loopback(options.host) and not options.api_keys:
        raise UsageError(
            f"host {options.host!r}: other machines could use the server without a key; give --api-key-file,"
            " or listen on 127.0.0.1"
        )
    for key in options.api_keys:
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError("an API key: printable ASCII characters without spaces")
        if len(key) < _SHORTEST_KEY and not is_loopback(options.host):
            raise ConfigError(f"an API key of {len(key)} characters can be guessed; take at least {_SHORTEST_KEY}")
    for origin in options.cors_origins:
        scheme, _, rest = origin.partition("://")
        if origin != "null" and (scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest):
            raise ConfigError(f"--cors-origin: {origin!r} is no origin; write https://name.example, without a path")
    for host in options.remote_hosts:
        if not host or host != host.lower() or any(sign in host for sign in "/:*@ ") or is_loopback(host):
            raise ConfigError(
                f"--allow-image-host: {host!r} is no host name; write images.example.org, in small letters"
            )
    if options.remote_hosts:
        # A missing package is told at the start, not at the first request.
        import kosmos.serving.remote_pictures  # noqa: F401


class HostNames:
    """The names by which the server may be called, against pages that point a name of theirs at this machine."""

    def __init__(self, options: ServeOptions) -> None:
        self._checked = is_loopback(options.host)
        own = options.host.lower() if ":" not in options.host else f"[{options.host.strip('[]').lower()}]"
        self._names = _LOOPBACK_NAMES | {own, *(name.lower() for name in options.host_names)}

    def knows(self, host: bytes | None) -> bool:
        """Whether this `Host` header names the server; beyond loopback the key is what protects, so any name does."""
        return not self._checked or (host is not None and without_port(host.decode("latin-1")) in self._names)


def without_port(authority: str) -> str:
    """`Name:8000` to `name`, `[::1]:8000` to `[::1]`."""
    authority = authority.lower()
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0]


class Origins:
    """Which pages may call the server: its own, and those of the origins listed."""

    def __init__(self, options: ServeOptions) -> None:
        self._allowed = frozenset(origin.lower() for origin in options.cors_origins)

    def lists(self, origin: bytes) -> bool:
        return origin.decode("latin-1").lower() in self._allowed

    def admits(self, origin: bytes | None, host: bytes | None) -> bool:
        """Whether a request with these headers comes from no page, from our own, or from one that is listed."""
        if origin is None or self.lists(origin):
            return True
        scheme, _, authority = origin.decode("latin-1").lower().partition("://")
        return scheme in ("http", "https") and host is not None and authority == host.decode("latin-1").lower()
