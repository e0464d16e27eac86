"""A web of loopback servers: names end in `.test` and lead to 127.0.0.1, time is counted, not spent."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import PIL.Image
import pytest
from aiohttp import web

from kosmos.data.fetch.client import PoliteClient
from kosmos.data.fetch.hosts import Clock
from kosmos.data.fetch.results import Fetched, FetchFailure
from kosmos.data.fetch.settings import FetchSettings

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class CountedTime:
    """A clock that moves only when somebody waits."""

    value: float = 1000.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.value += seconds
        await asyncio.sleep(0)

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

    async def answer(self, request: web.Request) -> web.StreamResponse:
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


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[int, dict[str, Answer]]]:
    """One server for all tests, in a thread of its own: its port, and where to put what answers."""
    sockets = socket.socket()
    sockets.bind(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    started = threading.Event()
    answers: dict[str, Answer] = {}

    async def start() -> None:
        runner = web.ServerRunner(web.Server(lambda request: answers["now"](request)))
        await runner.setup()
        await web.SockSite(runner, sockets).start()
        started.set()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.create_task(start())
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert started.wait(10)
    yield sockets.getsockname()[1], answers
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def site(server: tuple[int, dict[str, Answer]]) -> Site:
    port, answers = server
    made = Site(port)
    answers["now"] = made.answer
    return made


@pytest.fixture
def time_counted() -> CountedTime:
    return CountedTime()


def lookup(host: str) -> list[str]:
    """`10-0-0-7.test` is 10.0.0.7, `both.test` is here and elsewhere, every other `.test` is this machine."""
    name = host.removesuffix(".").removesuffix(".test")
    if not host.removesuffix(".").endswith(".test") or name == "nowhere":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if name == "both":
        return ["127.0.0.1", "10.0.0.7"]
    return [name.replace("-", ".")] if name[0].isdigit() else ["127.0.0.1"]


Get = Callable[..., list[Fetched | FetchFailure]]


@pytest.fixture
def get(time_counted: CountedTime) -> Get:
    """Fetch URLs one after the other with one client that may reach 127.0.0.1 and nothing else private."""

    def fetch(*urls: str, together: bool = False, **settings: object) -> list[Fetched | FetchFailure]:
        made: dict[str, object] = {"ports": (), "allow_networks": ("127.0.0.1/32",), "timeout": 5.0, **settings}

        async def run() -> list[Fetched | FetchFailure]:
            async with PoliteClient(FetchSettings(**made), time_counted.clock(), lookup) as client:  # type: ignore[arg-type]
                if together:
                    return list(await asyncio.gather(*(client.get(url) for url in urls)))
                return [await client.get(url) for url in urls]

        return asyncio.run(run())

    return fetch


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """An encoded picture of random pixels, the same for the same seed."""

    def make(seed: int = 0, size: tuple[int, int] = (24, 16), form: str = "JPEG") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        out = io.BytesIO()
        PIL.Image.fromarray(pixels).save(out, form)
        return out.getvalue()

    return make
