from __future__ import annotations

import asyncio

import pytest

from kosmos.data.fetch import hosts
from kosmos.data.fetch.hosts import HostGates
from kosmos.data.fetch.results import FetchError
from tests.data.fetch.loopback import CountedTime


def starts(gates: HostGates, time: CountedTime, names: list[str], interval: float) -> list[tuple[str, float]]:
    """When each exchange began."""
    begun: list[tuple[str, float]] = []

    async def one(name: str) -> None:
        async with gates.exchange(name, interval):
            begun.append((name, time.value - 1000))
            await asyncio.sleep(0)

    async def run() -> None:
        await asyncio.gather(*(one(name) for name in names))

    asyncio.run(run())
    return begun


def test_an_interval_between_starts_with_one_host(time_counted: CountedTime) -> None:
    gates = HostGates(10, 1, 60.0, time_counted.clock())
    assert starts(gates, time_counted, ["a", "a", "a"], 2.0) == [("a", 0.0), ("a", 2.0), ("a", 4.0)]


def test_a_slow_host_keeps_no_place_from_the_others(time_counted: CountedTime) -> None:
    gates = HostGates(1, 1, 60.0, time_counted.clock())
    begun = starts(gates, time_counted, ["a", "a", "b", "c"], 5.0)
    assert sorted(begun[:3]) == [("a", 0.0), ("b", 0.0), ("c", 0.0)]
    assert begun[3] == ("a", 5.0)


def test_a_pause_holds_for_those_who_wait_already(time_counted: CountedTime) -> None:
    gates = HostGates(4, 2, 60.0, time_counted.clock())
    gates.pause("a", 30.0)
    assert starts(gates, time_counted, ["a", "b"], 1.0) == [("b", 0.0), ("a", 30.0)]
    gates.pause("a", 61.0)
    with pytest.raises(FetchError, match="rate limited"):
        starts(gates, time_counted, ["a"], 1.0)


def test_hosts_are_forgotten(time_counted: CountedTime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_HOSTS_KEPT", 4)
    gates = HostGates(4, 2, 60.0, time_counted.clock())
    gates.pause("paused", 1e6)
    for number in range(40):
        starts(gates, time_counted, [f"host{number}"], 0.5)
        time_counted.value += 1
    assert len(gates._hosts) < 12 and "paused" in gates._hosts
