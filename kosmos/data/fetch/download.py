"""Downloading one large file to disk, in parts if need be: what is there is kept, and the rest is asked for.

For files that a person named, not for what a page or a table links to: robots.txt is not asked. Private addresses are
as closed as to the other fetchers.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import yarl

from kosmos.data.fetch.addresses import PRIVATE, AddressRules, parse_url
from kosmos.data.fetch.client import network_failure
from kosmos.data.fetch.connector import Lookup, guarded_connector, system_lookup
from kosmos.data.fetch.results import FetchError
from kosmos.data.fetch.settings import FetchSettings
from kosmos.errors import DataError, StorageError

_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)
_CONNECT_SECONDS = 20.0
_CHUNK = 1 << 20


def download(
    url: str,
    file: Path,
    max_bytes: int,
    settings: FetchSettings | None = None,
    *,
    lookup: Lookup = system_lookup,
    advance: Callable[[int, int | None], None] = lambda done, total: None,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Write what `url` serves to `file`, whole or not at all, and return its bytes.

    What a broken try leaves lies beside it as `.NAME.part` and is gone on from, as long as the server has the same
    file still. `advance(done, total)` is called as bytes come; `settings.timeout` is of silence. Raises DataError with
    the reason when the web does not give it, StorageError when the disk does not take it.
    """
    settings = settings or FetchSettings(timeout=60.0, retries=4)
    part = file.with_name(f".{file.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            asyncio.run(_go_on(parse_url(url), part, max_bytes, settings, lookup, advance))
            size = _size(part)
            os.replace(part, file)
            _tag_of(part).unlink(missing_ok=True)
            return size
        except FetchError as error:
            failures = 1 if _size(part) > before else failures + 1
            if not error.retry or failures > settings.retries:
                reason = f"{error.reason}: {error.detail}" if error.detail else error.reason
                raise DataError(f"{url}: cannot be fetched: {reason}") from error
            wait(settings.backoff * 2 ** (failures - 1))
        except OSError as error:
            raise StorageError(f"{part}: cannot be written: {error.strerror or error}; free some space") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tag_of(part: Path) -> Path:
    """Where the server's mark of the file's version lies, without which nothing is gone on from."""
    return part.with_suffix(".etag")


async def _go_on(
    url: yarl.URL,
    part: Path,
    max_bytes: int,
    settings: FetchSettings,
    lookup: Lookup,
    advance: Callable[[int, int | None], None],
) -> None:
    """One try, with its redirects. Raises FetchError for the web's part, OSError for the disk's."""
    rules = AddressRules(settings.ports, (PRIVATE if settings.allow_private else ()) + settings.allow_networks)
    async with aiohttp.ClientSession(
        connector=guarded_connector(rules, 1, lookup),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": settings.user_agent, "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=settings.timeout),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        for _ in range(settings.max_redirects + 1):
            rules.check_url(url)
            tag = _tag_of(part).read_text() if _size(part) and _tag_of(part).exists() else ""
            have = _size(part) if tag else 0
            headers = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
            try:
                response = await session.get(url, headers=headers, allow_redirects=False)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise network_failure(error) from error
            async with response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    before, url = url, url.join(parse_url(response.headers["Location"]))
                    if before.scheme == "https" and url.scheme != "https":
                        raise FetchError("insecure redirect", str(url)[:200])
                    continue
                return await _save(response, part, have, max_bytes, advance)
    raise FetchError("too many redirects")


async def _save(
    response: aiohttp.ClientResponse,
    part: Path,
    have: int,
    max_bytes: int,
    advance: Callable[[int, int | None], None],
) -> None:
    if response.status == 416:  # the file has become shorter than what we have
        part.unlink(missing_ok=True)
        raise FetchError("http 416", retry=True)
    if response.status not in (200, 206):
        raise FetchError(f"http {response.status}", retry=response.status in _TRY_AGAIN)
    if response.status == 206:
        given = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if given is None or int(given[1]) != have:
            part.unlink(missing_ok=True)
            raise FetchError("bad response", "another range than asked for", retry=True)
    else:
        have = 0
    length = response.content_length
    total = None if length is None else have + length
    if total is not None and total > max_bytes:
        raise FetchError("too large", f"{total:,} bytes; expected at most {max_bytes:,}")
    tag = response.headers.get("ETag", "")
    # A weak mark does not promise the same bytes.
    _tag_of(part).write_text("" if tag.startswith("W/") else tag)
    with part.open("ab" if have else "wb") as out:
        chunks = response.content.iter_chunked(_CHUNK)
        while True:
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                break
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise network_failure(error) from error
            have += len(chunk)
            if have > max_bytes:
                part.unlink(missing_ok=True)
                raise FetchError("too large", f"more than {max_bytes:,} bytes")
            out.write(chunk)
            advance(have, total)
    if total is not None and have < total:
        raise FetchError("cut short", f"{have:,} of {total:,} bytes", retry=True)
    if not have:
        raise FetchError("empty")
