"""Connections that are opened only to allowed addresses.

The resolver refuses a name that leads anywhere else; the socket factory looks at the very address being connected to,
so nothing between the two can change it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kosmos.data.fetch.addresses import AddressRules

Lookup = Callable[[str], list[str]]

_LOOKUP_THREADS = 32  # name servers answer slowly, and threads that wait are cheap
_NAMES_KEPT_SECONDS = 300


class AddressRefusedError(OSError):
    """A name led to an address that may not be connected to."""


def system_lookup(host: str) -> list[str]:
    """The addresses of a name, as the system resolves it. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    # A scope (fe80::1%eth0) is the fourth field; such addresses are link-local and refused anyway.
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses one of whose addresses a single one is not allowed."""

    def __init__(self, rules: AddressRules, lookup: Lookup = system_lookup) -> None:
        self._rules = rules
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host)
        if not addresses:
            raise OSError(f"{host} has no address")
        for address in addresses:
            if not self._rules.allows(address):
                raise AddressRefusedError(f"{host} is {address}")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def guarded_connector(rules: AddressRules, limit: int, lookup: Lookup = system_lookup) -> aiohttp.TCPConnector:
    """A connector of `limit` connections, none of them to an address outside the rules."""

    def open_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not rules.allows(str(address[0])):
            raise AddressRefusedError(f"{address[0]} may not be connected to")
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        limit=limit,
        resolver=GuardedResolver(rules, lookup),
        ttl_dns_cache=_NAMES_KEPT_SECONDS,
        dns_cache_max_size=10_000,
        socket_factory=open_socket,
    )
