"""Fetching pictures: each is decoded once before it is believed to be one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from kosmos.data.fetch.client import PoliteClient
from kosmos.data.fetch.connector import Lookup, system_lookup
from kosmos.data.fetch.hosts import Clock
from kosmos.data.fetch.results import FetchError, FetchFailure, Picture
from kosmos.data.fetch.settings import FetchSettings
from kosmos.data.tar_writer import picture_suffix
from kosmos.errors import DataError, ImageError
from kosmos.images import decode_image

T = TypeVar("T")

_MOST_SCANS = 100  # a progressive JPEG has about ten


def check_picture(data: bytes, settings: FetchSettings) -> tuple[int, int]:
    """Width and height, upright, of an encoded picture that decodes to its last pixel.

    What the picture is follows from its bytes, never from its name or what the server said. Raises FetchError.
    """
    try:
        picture_suffix(data)
    except DataError as error:
        raise FetchError("not a picture", str(error)[:200]) from error
    # Thirty bytes make a scan, and a scan goes over all pixels: a few megabytes could keep a decoder busy for an hour.
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > _MOST_SCANS:
        raise FetchError("broken picture", f"a JPEG of more than {_MOST_SCANS} scans")
    try:
        width, height = decode_image(data, settings.max_megapixels).size
    except ImageError as error:
        reason = "too many pixels" if "over the limit" in str(error) else "broken picture"
        raise FetchError(reason, str(error)[:200]) from error
    if min(width, height) < settings.min_size:
        raise FetchError("too small", f"{width} x {height} pixels")
    return width, height


class PictureClient:
    """A PoliteClient for pictures; an async context manager. Decoding runs in threads of its own."""

    def __init__(self, settings: FetchSettings, clock: Clock | None = None, lookup: Lookup = system_lookup) -> None:
        self.settings = settings
        self._client = PoliteClient(settings, clock, lookup)
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def picture(self, url: str) -> Picture | FetchFailure:
        """The picture behind a URL, or why there is none."""
        size = (0, 0)

        async def check(data: bytes) -> None:
            nonlocal size
            loop = asyncio.get_running_loop()
            size = await loop.run_in_executor(self._threads, check_picture, data, self.settings)

        fetched = await self._client.get(url, check)
        if isinstance(fetched, FetchFailure):
            return fetched
        return Picture(fetched.data, *size, fetched.final_url)

    async def verified(self, data: bytes) -> Picture | FetchFailure:
        """Bytes that came without fetching, checked in the same way."""
        loop = asyncio.get_running_loop()
        try:
            if len(data) > self.settings.max_bytes:
                raise FetchError("too large", f"{len(data)} bytes")
            size = await loop.run_in_executor(self._threads, check_picture, data, self.settings)
        except FetchError as error:
            return error.failure()
        return Picture(data, *size, "")


async def together(waited: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order. The first exception stops the others and is raised as it is, not in a group."""
    tasks = [asyncio.create_task(one) for one in waited]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class PictureFetcher:
    """Pictures for code that is not asynchronous; a context manager that keeps connections, robots.txt and rates
    between calls. Rates hold within one process: several of them ask a host more often."""

    def __init__(self, settings: FetchSettings, clock: Clock | None = None, lookup: Lookup = system_lookup) -> None:
        self._client = PictureClient(settings, clock, lookup)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._client.__aexit__(kind, error, trace))
        finally:
            self._runner.close()

    def fetch(self, urls: Sequence[str]) -> list[Picture | FetchFailure]:
        """One result for each URL, in their order; a URL given twice is fetched once. All results lie in memory."""
        return self._runner.run(self._fetch_all(urls))

    async def _fetch_all(self, urls: Sequence[str]) -> list[Picture | FetchFailure]:
        distinct = list(dict.fromkeys(urls))
        found = dict(zip(distinct, await together([self._client.picture(url) for url in distinct]), strict=True))
        return [found[url] for url in urls]


def fetch_pictures(urls: Sequence[str], settings: FetchSettings | None = None) -> list[Picture | FetchFailure]:
    """Fetch pictures once; for more than one call, a PictureFetcher asks every robots.txt only once."""
    with PictureFetcher(settings or FetchSettings()) as fetcher:
        return fetcher.fetch(urls)
