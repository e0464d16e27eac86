"""Fixtures of the fetching tests."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections.abc import Callable, Iterator

import numpy as np
import PIL.Image
import pytest
from aiohttp import web

from kosmos.data.fetch.client import PoliteClient
from kosmos.data.fetch.results import Fetched, FetchFailure
from kosmos.data.fetch.settings import FetchSettings
from tests.data.fetch.loopback import Answer, CountedTime, Get, Site, lookup


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[int, dict[str, Answer]]]:
    """One server for all tests, in a thread of its own: its port, and where to put what answers."""
    sockets = socket.socket()
    sockets.bind(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    started = threading.Event()
    answers: dict[str, Answer] = {}

    runners: list[web.ServerRunner] = []

    async def start() -> None:
        runner = web.ServerRunner(web.Server(lambda request: answers["now"](request)), shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.SockSite(runner, sockets).start()
        started.set()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert started.wait(10)
    yield sockets.getsockname()[1], answers
    asyncio.run_coroutine_threadsafe(runners[0].cleanup(), loop).result(10)
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


@pytest.fixture
def get(time_counted: CountedTime) -> Get:
    """Fetch URLs one after the other with one client that may reach 127.0.0.1 and nothing else private."""

    def fetch(*urls: str, together: bool = False, **settings: object) -> list[Fetched | FetchFailure]:
        made: dict[str, object] = {"ports": (), "allow_networks": ("127.0.0.1/32",), "timeout": 60.0, **settings}

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
