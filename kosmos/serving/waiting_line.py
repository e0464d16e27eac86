"""Prompts that wait for the engine, in a fair order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from kosmos.serving.asks import Ask


class WaitingLine:
    """Fair queueing: a prompt's place is the work that was begun before it came, plus its request's own up to it.

    So a short request passes long ones, many prompts in one request do not keep others waiting for all of them, and
    none waits for ever: what comes later has a place farther back with all that is begun meanwhile.
    """

    def __init__(self) -> None:
        self._asks: dict[object, deque[tuple[int, Ask]]] = {}  # of each request, with their places
        self._begun = 0

    def __bool__(self) -> bool:
        return bool(self._asks)

    def __iter__(self) -> Iterator[Ask]:
        return (ask for asks in self._asks.values() for _, ask in asks)

    def add(self, ask: Ask) -> None:
        """Behind the other prompts of its request."""
        asks = self._asks.setdefault(ask.request, deque())
        asks.append((max(self._begun, asks[-1][0] if asks else 0) + ask.work, ask))

    def first(self, may: Callable[[Ask], bool] | None = None) -> Ask | None:
        """The next prompt; of those that come next in their requests, one that `may`. None when there is none."""
        heads = [asks[0] for asks in self._asks.values() if may is None or may(asks[0][1])]
        return min(heads, key=lambda head: head[0])[1] if heads else None

    def take(self, ask: Ask) -> None:
        """It is begun."""
        self._begun = max(self._begun, self._asks[ask.request][0][0])
        self.remove(ask)

    def remove(self, ask: Ask) -> None:
        """It waits no more."""
        left = deque((place, other) for place, other in self._asks[ask.request] if other is not ask)
        if left:
            self._asks[ask.request] = left
        else:
            del self._asks[ask.request]

    def clear(self) -> None:
        self._asks.clear()
