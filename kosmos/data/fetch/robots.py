"""robots.txt (RFC 9309): what a host allows, and how often."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import yarl

from kosmos.data.fetch.hosts import Clock
from kosmos.data.fetch.results import FetchError, FetchFailure
from kosmos.errors import ConfigError

try:
    import protego
except ImportError as error:
    raise ConfigError("fetching needs protego: pip install 'kosmos[web]'") from error

_AGENT_LINE = re.compile(r"[ \t]*user[- ]?agent[ \t]*:?[ \t]*([^#\r\n]*)", re.IGNORECASE)
_ORIGINS_KEPT = 20_000
_KEPT_SECONDS = 24 * 3600.0  # the RFC's longest
_FAILURE_KEPT_SECONDS = 600.0
MAX_ROBOTS_BYTES = 500 << 10  # the RFC asks for this much at least


@dataclass(frozen=True)
class RobotsRules:
    """The rules of one host for us. `rules` None allows everything; `delay` is the pause it asks for in seconds."""

    rules: protego.Protego | None = None
    delay: float = 0.0

    def allows(self, url: str, name: str) -> bool:
        return self.rules is None or bool(self.rules.can_fetch(url, name))


ALLOW_ALL = RobotsRules()


def parse_robots(data: bytes, name: str) -> RobotsRules:
    """The rules for the robot called `name`; what cannot be understood allows everything, as the RFC says."""
    text = data[:MAX_ROBOTS_BYTES].decode("utf-8", "replace")
    if text.lstrip("\ufeff \t\r\n").startswith("<"):  # a web page where robots.txt should be
        return ALLOW_ALL
    rules = protego.Protego.parse("\n".join(_for_us(line, name) for line in text.splitlines()))
    rate = rules.request_rate(name)
    delay = max(
        float(rules.crawl_delay(name) or 0),
        rate.seconds / rate.requests if rate is not None and rate.requests else 0.0,
    )
    return RobotsRules(rules, max(delay, 0.0))


def _for_us(line: str, name: str) -> str:
    """The line, with the names of all other robots made one: thousands of them before thousands of rules would take
    minutes, and `kos` is not `kosmos`."""
    match = _AGENT_LINE.match(line)
    if match is None:
        return line
    agent = match.group(1).strip()
    if agent == "*":
        return "User-agent: *"
    ours = agent.replace("*", "").partition("/")[0].strip().lower() == name.lower()
    return f"User-agent: {name if ours else 'another'}"


class RobotsCache:
    """The rules of many origins, each fetched once for all who wait for them; failures are kept for a while too."""

    def __init__(self, fetch: Callable[[yarl.URL], Awaitable[RobotsRules]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._known: dict[yarl.URL, tuple[float, RobotsRules | FetchFailure]] = {}
        self._asked: dict[yarl.URL, asyncio.Task[RobotsRules | FetchFailure]] = {}

    async def rules(self, origin: yarl.URL) -> RobotsRules | FetchFailure:
        """The rules of `origin`, or why they cannot be had."""
        until, rules = self._known.get(origin, (0.0, ALLOW_ALL))
        if self._clock.now() < until:
            return rules
        task = self._asked.get(origin)
        if task is None:
            task = self._asked[origin] = asyncio.create_task(self._ask(origin))
        # Many URLs wait for one robots.txt: one that gives up must not take it from the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop asking."""
        waiting = list(self._asked.values())
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _ask(self, origin: yarl.URL) -> RobotsRules | FetchFailure:
        rules: RobotsRules | FetchFailure
        try:
            rules = await self._fetch(origin)
        except FetchError as error:
            rules = error.failure()
        finally:
            del self._asked[origin]
        kept = _FAILURE_KEPT_SECONDS if isinstance(rules, FetchFailure) else _KEPT_SECONDS
        self._known.pop(origin, None)  # so that what was asked last stands last
        self._known[origin] = (self._clock.now() + kept, rules)
        if len(self._known) > _ORIGINS_KEPT:
            for old in list(self._known)[: _ORIGINS_KEPT // 2]:
                del self._known[old]
        return rules
