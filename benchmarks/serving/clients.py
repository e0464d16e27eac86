"""Many clients at once: they ask, read, leave half-way, come again when told so, and note everything."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.serving.questions import Question

_LEAVING = 0.1  # of the requests are left before their answer is complete
_MOST_PATIENCE = 0.5  # seconds before such a client hangs up
_TOLD_TO_WAIT = (429, 503)


@dataclass
class Notes:
    """What all clients saw together.

    seconds    of the complete answers, by kind
    outcomes   how requests ended: answered, left, and the statuses of refusals
    wrong      answers that are not the engine's own for that request alone
    broken     answers that ended before they were complete, or were no answers
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Clients:
    """`stopping` is set when the server was told to end: requests begun after it may be turned away at the door."""

    def __init__(self, url: str, questions: Sequence[Question], seed: int) -> None:
        self._url = url
        self._questions = questions
        self._seed = seed
        self.notes = Notes()
        self.stopping = asyncio.Event()
        self._ended = False

    async def run(self, count: int) -> None:
        """`count` clients until `end` is called and their last requests are answered."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=300)
        ) as session:
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    group.create_task(self._client(session, random.Random(self._seed + number)))

    def end(self) -> None:
        self._ended = True

    async def _client(self, session: aiohttp.ClientSession, chance: random.Random) -> None:
        while not self._ended:
            question = chance.choice(self._questions)
            knew = self.stopping.is_set()
            start = time.perf_counter()
            try:
                wait = await self._ask(session, question, chance)
            except aiohttp.ClientConnectorError:
                self.notes.outcomes["no connection"] += 1
                if not self.stopping.is_set():
                    self.notes.broken.append(f"{question.kind}: cannot connect")
                return
            except (aiohttp.ClientError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
                if knew and isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
                    self.notes.outcomes["no connection"] += 1  # a kept connection that had been closed meanwhile
                    return
                self.notes.broken.append(f"{question.kind}: {type(error).__name__}: {error}"[:200])
                wait = 0.1
            else:
                if wait == 0.0:
                    self.notes.seconds[question.kind].append(time.perf_counter() - start)
            await asyncio.sleep(max(wait or 0.0, 0.0))

    async def _ask(self, session: aiohttp.ClientSession, question: Question, chance: random.Random) -> float | None:
        """Seconds to wait before the next request, 0.0 after a complete answer, None after one that was left."""
        leaves = chance.random() < _LEAVING
        patience = chance.random()
        if leaves and not question.body.get("stream"):
            await self._leave_early(session, question, patience * _MOST_PATIENCE)
            return None
        async with session.post(self._url + question.path, json=question.body) as response:
            if response.status != 200:
                return await self._refused(response)
            if question.body.get("stream"):
                return await self._streamed(response, question, int(patience * 8) if leaves else None)
            self._note(question.check(await response.json()))
            return 0.0

    async def _leave_early(self, session: aiohttp.ClientSession, question: Question, seconds: float) -> None:
        """Ask and hang up while the answer is made."""
        try:
            async with asyncio.timeout(seconds):
                async with session.post(self._url + question.path, json=question.body) as response:
                    await response.read()
                    self.notes.outcomes["too late to leave"] += 1
        except TimeoutError:
            self.notes.outcomes["left"] += 1

    async def _refused(self, response: aiohttp.ClientResponse) -> float:
        error = (await response.json())["error"]
        self.notes.outcomes[str(response.status)] += 1
        if response.status not in _TOLD_TO_WAIT:
            self.notes.broken.append(f"status {response.status}: {error['message']}"[:200])
            return 0.1
        if response.status == 503 and not self.stopping.is_set():
            self.notes.broken.append(f"503 before the server was told to end: {error['message']}"[:200])
        return min(float(response.headers["Retry-After"]), 2.0)

    async def _streamed(
        self, response: aiohttp.ClientResponse, question: Question, leave_after: int | None
    ) -> float | None:
        text, pieces, done = "", 0, False
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                done = True
                continue
            chunk: dict[str, Any] = json.loads(line[len(b"data: ") :])
            if "error" in chunk:
                raise ValueError(f"an error in the midst of a stream: {chunk['error']['message']}")
            for choice in chunk["choices"]:
                text += choice["delta"].get("content") or ""
            pieces += 1
            if leave_after is not None and pieces > leave_after:
                self._note(question.check_beginning(text), "left")
                response.close()
                return None
        if not done:
            raise ValueError("a stream that ended without [DONE]")
        self._note(question.check_text(text))
        return 0.0

    def _note(self, wrong: str | None, outcome: str = "answered") -> None:
        self.notes.outcomes[outcome if wrong is None else "wrong"] += 1
        if wrong is not None:
            self.notes.wrong.append(wrong[:300])
