"""An HTTP client that a stranger's URLs can be given to, and that its hosts can live with."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import yarl

from kosmos.errors import ConfigError

try:
    import aiohttp
except ImportError as error:
    raise ConfigError("fetching needs aiohttp: pip install 'kosmos[web]'") from error

from kosmos.data.fetch.addresses import PRIVATE, AddressRules, parse_url
from kosmos.data.fetch.body import decode_data_url, read_capped
from kosmos.data.fetch.connector import AddressRefusedError, Lookup, guarded_connector, system_lookup
from kosmos.data.fetch.hosts import Clock, HostGates
from kosmos.data.fetch.results import Fetched, FetchError, FetchFailure
from kosmos.data.fetch.robots import ALLOW_ALL, MAX_ROBOTS_BYTES, RobotsCache, RobotsRules, parse_robots
from kosmos.data.fetch.settings import FetchSettings

__all__ = ["FetchFailure", "FetchSettings", "Fetched", "PoliteClient"]

_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (429, 500, 502, 503, 504)
_PAUSE = (429, 503)  # these speak for the host, not for one URL
# The host itself cannot be had, not only its robots.txt.
_OUT_OF_REACH = ("host not found", "cannot connect", "tls", "private address", "port")
_CONNECT_SECONDS = 10.0  # many hosts of an old table are gone, and each holds a place while we wait
_ACCEPT = "image/jpeg,image/png,image/webp,image/gif,*/*;q=0.5"

Check = Callable[[bytes], Awaitable[None]]


class PoliteClient:
    """Fetches URLs within the limits of its settings; an async context manager, used within one event loop.

    No cookies, no credentials, no proxies from the environment: only the connection's own address is trusted.
    """

    def __init__(self, settings: FetchSettings, clock: Clock | None = None, lookup: Lookup = system_lookup) -> None:
        self._settings = settings
        self._clock = clock or Clock()
        self._lookup = lookup
        self._rules = AddressRules(
            settings.ports, (PRIVATE if settings.allow_private else ()) + settings.allow_networks
        )
        self._gates = HostGates(settings.concurrency, settings.per_host_concurrency, settings.patience, self._clock)
        self._robots = RobotsCache(self._fetch_robots, self._clock)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(self._rules, self._settings.concurrency, self._lookup),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._settings.user_agent, "Accept": _ACCEPT, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS
            ),  # the total is ours: it spans redirects
            auto_decompress=False,  # ours has a limit
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._robots.close()
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, check: Check | None = None) -> Fetched | FetchFailure:
        """The bytes behind a URL (http, https or data), or why there are none. Never raises for what the web does.

        `check` is awaited on the bytes and raises FetchError when they will not do. The exchange counts as running
        until it is done, so no more answers lie in memory than `concurrency`.
        """
        try:
            if url.lstrip()[:5].lower() != "data:":
                return await self._with_retries(parse_url(url), check=check)
            data, media = decode_data_url(url, self._settings.max_bytes)
            if check is not None:
                await check(data)
            return Fetched(data, media, "data:")
        except FetchError as error:
            return error.failure()

    async def _with_retries(self, url: yarl.URL, robots: bool = False, check: Check | None = None) -> Fetched:
        spread = 1 + zlib.crc32(str(url).encode()) / 2**32  # so that the tries of many URLs do not come together
        attempt = 0
        while True:
            try:
                return await self._follow(url, robots, check)
            except FetchError as error:
                wait = max(self._settings.backoff * 2**attempt * spread, error.retry_after or 0.0)
                attempt += 1
                if not error.retry or attempt > self._settings.retries or wait > self._settings.patience:
                    raise
            await self._clock.sleep(wait)

    async def _follow(self, url: yarl.URL, robots: bool, check: Check | None) -> Fetched:
        """One try: the URL and its redirects, each checked anew. Raises FetchError."""
        left = self._settings.timeout
        for _ in range(self._settings.max_redirects + 1):
            self._rules.check_url(url)
            interval = 1 / self._settings.per_host_rate if robots else await self._ask_robots(url)
            host = url.raw_host or ""
            async with self._gates.exchange(host, interval):
                start = time.monotonic()
                try:
                    answer = await self._exchange(url, left, robots)
                except FetchError as error:
                    if error.retry_after is not None:
                        self._gates.pause(host, error.retry_after)
                    raise
                left -= time.monotonic() - start
                if isinstance(answer, Fetched):
                    if check is not None:
                        await check(answer.data)
                    return answer
            url = answer
        raise FetchError("too many redirects")

    async def _ask_robots(self, url: yarl.URL) -> float:
        """Seconds between two requests to the URL's host. Raises FetchError when its robots.txt refuses the URL."""
        rules = await self._robots.rules(url.origin())
        if isinstance(rules, FetchFailure):
            raise FetchError(rules.reason, rules.detail)
        if not rules.allows(str(url), self._settings.robots_name):
            raise FetchError("robots", str(url)[:200])
        if rules.delay > self._settings.patience:
            raise FetchError("rate limited", f"robots.txt asks for {rules.delay:.0f} s between requests")
        return max(rules.delay, 1 / self._settings.per_host_rate)

    async def _fetch_robots(self, origin: yarl.URL) -> RobotsRules:
        """RFC 9309: 4xx allows everything, an unreachable robots.txt nothing. Raises FetchError for the latter."""
        try:
            answer = await self._with_retries(origin.with_path("/robots.txt"), robots=True)
        except FetchError as error:
            status = error.reason.removeprefix("http ")
            if (status.startswith("4") and status != "429") or error.reason == "too many redirects":
                return ALLOW_ALL
            if error.reason in _OUT_OF_REACH:
                raise
            raise FetchError("robots unreachable", f"{error.reason} {error.detail}".strip()) from error
        return parse_robots(answer.data, self._settings.robots_name)

    async def _exchange(self, url: yarl.URL, seconds: float, robots: bool) -> Fetched | yarl.URL:
        """One request and its answer, or where it redirects to. Raises FetchError."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                return await self._request(url, MAX_ROBOTS_BYTES if robots else self._settings.max_bytes, robots)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise network_failure(error) from error

    async def _request(self, url: yarl.URL, limit: int, robots: bool) -> Fetched | yarl.URL:
        assert self._session is not None, "used outside `async with`"
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status in _REDIRECTS and "Location" in response.headers:
                return url.join(parse_url(response.headers["Location"]))
            if response.status != 200:
                wait = _retry_after(response.headers.get("Retry-After", "")) if response.status in _PAUSE else None
                raise FetchError(f"http {response.status}", "", response.status in _TRY_AGAIN, wait)
            if not robots:
                self._check_opt_out(response)
            length = response.content_length
            if length is not None and length > limit and not robots:
                raise FetchError("too large", f"{length} bytes")
            encoding = response.headers.get("Content-Encoding", "")
            data = await read_capped(response.content.iter_any(), encoding, limit, cut=robots)
            if not data and not robots:
                raise FetchError("empty")
            return Fetched(data, response.headers.get("Content-Type", ""), str(url))

    def _check_opt_out(self, response: aiohttp.ClientResponse) -> None:
        """Refuse what its owner reserved: X-Robots-Tag, for everyone or for us, and TDM-Reservation."""
        if response.headers.get("TDM-Reservation", "").strip() == "1":
            raise FetchError("opted out", "TDM-Reservation: 1")
        for value in response.headers.getall("X-Robots-Tag", []):
            whom, colon, rest = value.partition(":")
            if colon and re.fullmatch(r"[\w.-]+", whom.strip()) and whom.strip().lower() != "unavailable_after":
                if whom.strip().lower() != self._settings.robots_name.lower():
                    continue
                value = rest
            refused = {word.strip().lower() for word in value.split(",")}.intersection(self._settings.opt_outs)
            if refused:
                raise FetchError("opted out", f"X-Robots-Tag: {', '.join(sorted(refused))}")


def _retry_after(value: str) -> float | None:
    """Seconds from now of a Retry-After header: a number, or a date."""
    value = value.strip()
    if re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)


def network_failure(error: BaseException) -> FetchError:
    """What went wrong below HTTP."""
    cause: BaseException | None = error
    while cause is not None:  # a refused address comes wrapped by whoever tried it
        if isinstance(cause, AddressRefusedError):
            return FetchError("private address", str(cause))
        cause = cause.__cause__ or cause.__context__
    detail = " ".join(str(error).split())[:200]
    if isinstance(error, TimeoutError):
        return FetchError("timeout", detail, retry=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FetchError("host not found", detail)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return FetchError("tls", detail)
    if isinstance(error, aiohttp.ClientConnectorError):
        return FetchError("cannot connect", detail, retry=True)
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientConnectionError | OSError):
        return FetchError("cut short", detail, retry=True)
    return FetchError("bad response", f"{type(error).__name__}: {detail}")
