"""Work of several requests that goes on a step at a time beside the live batch: beam searches, scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Generic, Protocol, TypeVar

import torch

from kosmos.inference.engine import Engine
from kosmos.inference.prefix import Prefix
from kosmos.serving.asks import Ask
from kosmos.serving.recovery import recover

Fail = Callable[[Ask, Exception], None]
Job = tuple[Ask, Prefix]


class Loop(Protocol):
    """What is done for some prompts together; `active`: indices of those that are not complete."""

    @property
    def active(self) -> Collection[int]: ...
    def advance(self) -> None: ...
    def drop(self, index: int, /) -> None: ...


SomeLoop = TypeVar("SomeLoop", bound=Loop)


class _Running(Generic[SomeLoop]):
    """Requests that began together."""

    def __init__(self, jobs: Sequence[Job], loop: SomeLoop) -> None:
        self.jobs = list(jobs)
        self.loop = loop
        self.untold = set(range(len(jobs)))


class Loops(Generic[SomeLoop]):
    """Keeps the loops of one kind that are under way.

    make        a loop for prompts
    tell        sends a request the results of its index in a loop that has completed it
    most_steps  loops advanced at a time: no kind of work can starve another
    """

    def __init__(
        self,
        engine: Engine,
        make: Callable[[Sequence[Job]], SomeLoop],
        tell: Callable[[SomeLoop, int, Ask], None],
        most_steps: int,
    ) -> None:
        self._engine = engine
        self._make = make
        self._tell = tell
        self._most_steps = most_steps
        self._running: list[_Running[SomeLoop]] = []

    def begin(self, jobs: Sequence[Job], fail: Fail) -> None:
        """Work on prompts together that `make` can take together. Those that fail alone go to `fail`."""
        try:
            self._running.append(_Running(jobs, self._make(jobs)))
        except Exception as error:
            self._halve(jobs, error, fail)

    def leave(self, ask: Ask) -> None:
        """Go on no further for it; harmless when nothing is done for it."""
        for running in self._running:
            for index in [i for i in running.untold if running.jobs[i][0] is ask]:
                running.untold.discard(index)
                if index in running.loop.active:
                    running.loop.drop(index)
        self._running = [running for running in self._running if running.untold]

    def step(self, fail: Fail) -> list[Ask]:
        """One step of the loops whose turn it is; the requests that are complete with it."""
        complete: list[Ask] = []
        turn, rest = self._running[: self._most_steps], self._running[self._most_steps :]
        self._running = rest + turn
        for running in turn:
            try:
                with torch.inference_mode():
                    if running.loop.active:
                        running.loop.advance()
            except Exception as error:
                # A step that failed cannot be taken back: begin again.
                self._running.remove(running)
                self._halve([running.jobs[index] for index in sorted(running.untold)], error, fail)
                continue
            for index in sorted(running.untold - set(running.loop.active)):
                ask, _ = running.jobs[index]
                self._tell(running.loop, index, ask)
                complete.append(ask)
        return complete

    def _halve(self, jobs: Sequence[Job], error: Exception, fail: Fail) -> None:
        """Try each half by itself."""
        if len(jobs) == 1:
            fail(jobs[0][0], error)
            return
        recover(self._engine, error)
        half = len(jobs) // 2
        self.begin(jobs[:half], fail)
        self.begin(jobs[half:], fail)
