"""Between the event loop and the engine thread: who may wait, what is asked, and the events on their way back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

from kosmos.document import Document
from kosmos.errors import DataError, PromptTooLong, UsageError
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.inference.scoring import continuation_ids, trailing_text
from kosmos.serving.asks import Ask, Complete, Event, Failed, Kind, Started
from kosmos.serving.engine_thread import EngineThread
from kosmos.serving.metrics import Metrics
from kosmos.serving.options import ServeOptions
from kosmos.serving.prompts import PromptReader
from kosmos.serving.refusals import Refusal, too_late

# No token stands for more characters than this, so a text beyond it is too long without being looked at.
_MOST_CHARACTERS_A_TOKEN = 64
# Prompts tokenized at a time.
_ENCODERS = 2


class Service:
    """One server's engine, queue and figures; everything but the engine's thread lives on the event loop."""

    def __init__(self, engine: Engine, options: ServeOptions) -> None:
        vision = engine.model.config.vision
        self.engine = engine
        self.options = options
        self.metrics = Metrics()
        self.thread = EngineThread(engine, self.metrics)
        self.prompts = PromptReader(
            options, engine.processor.chat_format, None if vision is None else vision.image_size
        )
        self.created = int(time.time())
        self.draining = False
        self.num_promised = 0  # requests that were let in and are not answered yet
        self._num_waiting = 0
        self._mean_seconds = 1.0  # of the latest requests
        self._encoders = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="encode")

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End the engine's thread; what is left is refused."""
        self.draining = True
        self.thread.stop()
        self._encoders.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def ticket(self) -> Iterator[Ticket]:
        """A place in the queue for one request. Raises Refusal when it is full, or the server is shutting down."""
        if self.draining:
            raise Refusal(
                503,
                "the server is shutting down; ask another one, or try again later",
                type="server_error",
                code="shutting_down",
                headers={"Retry-After": str(max(1, math.ceil(self.options.drain_s)))},
            )
        # Those for whom a slot is free wait only until their prompt is read.
        free = self.engine.pool.max_slots - self.thread.num_slots_used
        if self._num_waiting >= self.options.queue_size + free:
            raise Refusal(
                429,
                f"{self._num_waiting} requests wait already; try again in a moment",
                type="rate_limit_error",
                code="queue_full",
                headers={"Retry-After": str(max(1, min(30, math.ceil(self._mean_seconds))))},
            )
        self.num_promised += 1
        ticket = Ticket(self)
        try:
            yield ticket
        finally:
            ticket.end()
            self.num_promised -= 1
            self._mean_seconds += 0.1 * (time.monotonic() - ticket.arrived - self._mean_seconds)

    def waiting(self, change: int) -> None:
        self._num_waiting += change
        self.metrics.waiting.set(self._num_waiting)

    async def encode(self, ask: Ask, param: str) -> None:
        """Give the ask its prompt as ids. Raises Refusal for one that is too long or could never be answered."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._encoders, self._encode, ask, param)
        except (UsageError, DataError) as error:
            if isinstance(error, PromptTooLong):
                raise _too_long(str(error), param) from error
            raise Refusal(400, f"{param}: {error}", param=param) from error

    def _encode(self, ask: Ask, param: str) -> None:
        engine = self.engine
        self._check_characters(ask.document.text, param)
        row = engine.encode(ask.document)
        if ask.kind == "score":
            self._longest(ask, len(row), ask.candidates, "candidates", ask.include_end)
        if ask.names:
            # Their trie is kept for the next request, so that all of them together are no more than a prompt may be.
            self._check_characters("".join(ask.names), "names")
            longest = self._longest(ask, len(row), ask.names, "names", include_end=True)
            ask.options = replace(ask.options, max_new_tokens=longest, min_new_tokens=0)
        limit = min(ask.options.max_new_tokens, engine.max_length - len(row))
        least = min(ask.options.min_new_tokens, limit)
        ask.row = row
        ask.options = replace(ask.options, max_new_tokens=limit, min_new_tokens=least)
        self.thread.check(ask)

    def _longest(self, ask: Ask, num_read: int, texts: Sequence[str], field: str, include_end: bool) -> int:
        """Tokens of the longest of some texts behind a prompt of `num_read`. Raises Refusal for one that does not fit,
        and for one without any token: what is only white space would be the most probable of all."""
        tail = trailing_text(ask.document)
        longest = 0
        for index, text in enumerate(texts):
            param = f"{field}[{index}]"
            self._check_characters(text, param)
            count = len(continuation_ids(self.engine, tail, text, include_end))
            if count == include_end:
                raise Refusal(400, f"{param}: nothing is left of it as tokens; write a word", param=param)
            if num_read + count > self.engine.max_length:
                raise _too_long(
                    f"the prompt ({num_read} tokens) and this text ({count}) exceed the limit of "
                    f"{self.engine.max_length} tokens",
                    param,
                )
            longest = max(longest, count)
        return longest

    def _check_characters(self, text: str, param: str) -> None:
        most = self.engine.max_length * _MOST_CHARACTERS_A_TOKEN
        if len(text) > most:
            raise _too_long(f"{len(text)} characters are more than {self.engine.max_length} tokens", param)


def _too_long(message: str, param: str) -> Refusal:
    return Refusal(400, f"{param}: {message}", code="context_length_exceeded", param=param)


class Ticket:
    """One request's place: it waits until its first prompt has a slot, and everything that it asked ends with it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._asks: list[Ask] = []
        self._waits = True
        self.arrived = time.monotonic()
        self.deadline = self.arrived + service.options.deadline_s
        service.waiting(+1)

    async def ask(
        self,
        documents: Sequence[Document],
        param: str,
        kind: Kind,
        decoding: Decoding,
        *,
        top: int | None = None,
        echo: bool = False,
        stream: bool = False,
        candidates: Sequence[str] = (),
        include_end: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        """Hand prompts to the engine; the events come from `events`. Raises Refusal for what can never be answered."""
        for index, document in enumerate(documents):
            ask = Ask(
                document=document,
                kind=kind,
                options=decoding,
                deadline=self.deadline,
                listener=self._listener(index),
                top=top,
                echo=echo,
                stream=stream,
                candidates=candidates,
                include_end=include_end,
                names=tuple(names),
                arrived=self.arrived,
                request=self,
            )
            await self._service.encode(ask, param)
            self._asks.append(ask)
        for ask in self._asks:
            self._service.metrics.read(len(ask.row))
            self._service.thread.submit(ask)

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """A block that the deadline ends, as what the engine does for the request. Raises the Refusal then."""
        try:
            async with asyncio.timeout(self.deadline - time.monotonic()):
                yield
        except TimeoutError as error:
            raise too_late() from error

    @property
    def num_prompt_tokens(self) -> int:
        return sum(len(ask.row) for ask in self._asks)

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """(index of the prompt, event) until all are answered. Raises the Refusal of one that failed."""
        left = len(self._asks)
        while left:
            index, event = await self._events.get()
            if isinstance(event, Failed):
                raise event.refusal
            if isinstance(event, Started):
                self._started()
            if isinstance(event, Complete):
                left -= 1
            yield index, event

    def end(self) -> None:
        """Nobody waits any more: what is left undone is dropped."""
        for ask in self._asks:
            ask.cancelled = True
        self._started()

    def _started(self) -> None:
        if self._waits:
            self._waits = False
            self._service.waiting(-1)

    def _listener(self, index: int) -> Callable[[Event], None]:
        def listen(event: Event) -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has ended, and nobody listens
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

        return listen
