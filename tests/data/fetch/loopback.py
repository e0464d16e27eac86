"""A web on loopback: names end in `.test` and lead to 127.0.0.1, time is counted, not spent."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from kosmos.data.fetch.hosts import Clock
from kosmos.data.fetch.results import Fetched, FetchFailure

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Get = Callable[..., list[Fetched | FetchFailure]]


@dataclass
class CountedTime:
    """A clock that moves only when somebody waits."""

    value: float = 1000.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        end = self.value + seconds
        for _ in range(50):  # whoever need not wait goes first
            await asyncio.sleep(0)
        self.value = max(self.value, end)

    def clock(self) -> Clock:
        return Clock(now=lambda: self.value, sleep=self.sleep)


@dataclass
class Site:
    """A server on loopback. `pages`: what a path answers; `seen`: (host, path) of every request in order."""

    port: int = 0
    pages: dict[str, Answer | bytes] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: Counter[str] = field(default_factory=Counter)
    most_at_once: Counter[str] = field(default_factory=Counter)

    def url(self, path: str, host: str = "site.test", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def paths(self, host: str = "site.test") -> list[str]:
        return [path for name, path in self.seen if name == host]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        self.seen.append((host, request.path_qs))
        self.headers.append(dict(request.headers))
        for name in (host, "all"):
            self.at_once[name] += 1
            self.most_at_once[name] = max(self.most_at_once[name], self.at_once[name])
        try:
            page = self.pages.get(f"{host}{request.path}", self.pages.get(request.path))
            if page is None:
                return web.Response(status=404)
            return web.Response(body=page) if isinstance(page, bytes) else await page(request)
        finally:
            for name in (host, "all"):
                self.at_once[name] -= 1


def lookup(host: str) -> list[str]:
    """`10-0-0-7.test` is 10.0.0.7, `both.test` is here and elsewhere, every other `.test` is this machine."""
    name = host.removesuffix(".").removesuffix(".test")
    if not host.removesuffix(".").endswith(".test") or name == "nowhere":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if name == "both":
        return ["127.0.0.1", "10.0.0.7"]
    return [name.replace("-", ".")] if name[0].isdigit() else ["127.0.0.1"]
