"""How often and how many at a time a host is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from kosmos.data.fetch.results import FetchError

_HOSTS_KEPT = 10_000


@dataclass(frozen=True)
class Clock:
    """Time in seconds, and waiting; tests give their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass
class _Host:
    slots: asyncio.Semaphore
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_start: float = 0.0
    users: int = 0


class HostGates:
    """Lets exchanges through: `concurrency` at a time in all, `per_host` with one host, and `interval` seconds between
    the starts of two with one host. Waiting for a host takes no part of the total."""

    def __init__(self, concurrency: int, per_host: int, patience: float, clock: Clock) -> None:
        self._total = asyncio.Semaphore(concurrency)
        self._per_host = per_host
        self._patience = patience
        self._clock = clock
        self._hosts: dict[str, _Host] = {}
        self._sweep_at = _HOSTS_KEPT

    @asynccontextmanager
    async def exchange(self, host: str, interval: float) -> AsyncIterator[None]:
        """One exchange with a host. Raises FetchError "rate limited" when the host asked for too long a pause."""
        gate = self._gate(host)
        gate.users += 1
        try:
            async with gate.slots:
                async with gate.turn:  # first come, first served
                    await self._wait(gate)
                    # Taken within the turn: the interval runs from the real start, not from joining a queue.
                    await self._total.acquire()
                    gate.next_start = max(gate.next_start, self._clock.now() + interval)
                try:
                    yield
                finally:
                    self._total.release()
        finally:
            gate.users -= 1

    def pause(self, host: str, seconds: float) -> None:
        """The host asked for no request within so many seconds."""
        gate = self._gate(host)
        gate.next_start = max(gate.next_start, self._clock.now() + seconds)

    async def _wait(self, gate: _Host) -> None:
        while (wait := gate.next_start - self._clock.now()) > 0:
            if wait > self._patience:
                raise FetchError("rate limited", f"the host asks to wait for {wait:.0f} s")
            await self._clock.sleep(wait)

    def _gate(self, host: str) -> _Host:
        gate = self._hosts.get(host)
        if gate is None:
            if len(self._hosts) >= self._sweep_at:
                self._sweep()
            gate = self._hosts[host] = _Host(asyncio.Semaphore(self._per_host))
        return gate

    def _sweep(self) -> None:
        """Forget the hosts that nobody waits for; a table names millions."""
        now = self._clock.now()
        self._hosts = {name: gate for name, gate in self._hosts.items() if gate.users or gate.next_start > now}
        self._sweep_at = max(_HOSTS_KEPT, 2 * len(self._hosts))
