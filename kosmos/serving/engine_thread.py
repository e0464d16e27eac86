"""The one thread that owns the engine: it admits what waits, and gives every kind of work one step in turn.

Rows that decode, greedy or drawn, form one batch that others join while it runs. Beam searches and scores are advanced
a step at a time beside it; an echo is a single pass. So nothing waits for another request's last token, but for slots,
and these go round among the requests.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from kosmos.errors import KosmosError
from kosmos.inference.batching import TOKEN_BUDGET
from kosmos.inference.engine import Engine
from kosmos.inference.memory import is_out_of_memory
from kosmos.inference.prefix import Prefix
from kosmos.serving.asks import Ask, Complete, Failed, Started
from kosmos.serving.decoding import Decoder
from kosmos.serving.echoing import echo
from kosmos.serving.loops import Loops
from kosmos.serving.memory_room import MemoryRoom
from kosmos.serving.metrics import Metrics
from kosmos.serving.recovery import recover
from kosmos.serving.refusals import Refusal, internal_error, too_late
from kosmos.serving.searching import scores, searches
from kosmos.serving.waiting_line import WaitingLine

logger = logging.getLogger(__name__)

# Prompts read between two steps: bounds how long the running rows wait.
_MOST_READ = 16


class EngineThread:
    """Owns the engine from `start` to `stop`; `submit` may be called on any thread."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._room = MemoryRoom(engine)
        self._decoder = Decoder(engine, metrics)
        self._searches = searches(engine, metrics)
        self._scores = scores(engine)
        self._prefixes: dict[Ask, Prefix] = {}
        self._arrived: deque[Ask] = deque()
        self._waiting = WaitingLine()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="kosmos-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def give_up(self) -> None:
        """Refuse what is left, after the step at work; the thread ends then."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def stop(self) -> None:
        """`give_up`, and wait for the end."""
        self.give_up()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def num_slots_used(self) -> int:
        """Slots that requests hold."""
        return self._room.num_slots

    def check(self, ask: Ask) -> None:
        """Raises a Refusal for what could never be answered."""
        if not self._room.fits_alone(ask):
            raise Refusal(
                400,
                f"the request needs {ask.num_slots} slots of up to {ask.num_columns(0)} tokens, more than this server "
                f"has ({self._engine.pool.max_slots} slots, and its memory): ask for fewer answers, beams or tokens",
                code="request_too_large",
            )

    def submit(self, ask: Ask) -> None:
        with self._changed:
            if not self._stopping:
                self._arrived.append(ask)
                self._changed.notify()
                return
        ask.listener(Failed(_stopped()))

    # -- on the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._collect():
            try:
                self._drop_unwanted()
                self._admit()
                self._end(self._decoder.step(self._failed))
                self._end(self._searches.step(self._failed))
                self._end(self._scores.step(self._failed))
            except Exception:
                logger.exception("the engine's thread failed; what is at work is given up")
                self._fail_all(internal_error())
        self._fail_all(_stopped())

    def _collect(self) -> bool:
        """Wait until there is something to do; False when the thread is to end."""
        with self._changed:
            while not (self._stopping or self._arrived or self._waiting or self._prefixes):
                self._changed.wait()
            self._line_up()
            return not self._stopping

    def _line_up(self) -> None:
        for ask in self._arrived:
            self._waiting.add(ask)
        self._arrived.clear()

    def _drop_unwanted(self) -> None:
        now = time.monotonic()
        for ask in [ask for ask in (*self._waiting, *self._prefixes) if ask.cancelled or now > ask.deadline]:
            if ask not in self._prefixes:
                self._waiting.remove(ask)
            if not ask.cancelled:
                ask.listener(Failed(too_late()))
            self._leave(ask)

    def _admit(self) -> None:
        """Read what fits of those that wait. One that does not fit keeps those behind it waiting, so that it gets its
        turn, unless it is kept out only for being large."""
        chosen: list[Ask] = []
        tokens = 0
        while len(chosen) < _MOST_READ:
            ask = self._waiting.first()
            if ask is not None and self._room.is_kept_out(ask):
                ask = self._waiting.first(lambda ask: not self._room.is_kept_out(ask))
            if ask is None:
                break
            tokens += len(ask.row)
            if (chosen and tokens > TOKEN_BUDGET) or not self._room.take(ask):
                break
            self._waiting.take(ask)
            chosen.append(ask)
        for ask in chosen:
            ask.listener(Started())
        echoed = [ask for ask in chosen if not (ask.echo or ask.kind == "echo") or self._attempt(ask, self._echo)]
        self._read([ask for ask in echoed if ask.kind != "echo"])
        ready = [ask for ask in echoed if ask in self._prefixes]
        for ask in ready:
            if ask.kind == "decode":
                self._attempt(ask, lambda ask: self._decoder.join(ask, self._prefixes[ask]))
        beams = [ask for ask in ready if ask.kind == "beams"]
        for count in {ask.options.num_beams for ask in beams}:
            self._begin(self._searches, [ask for ask in beams if ask.options.num_beams == count])
        for end in (False, True):
            self._begin(self._scores, [ask for ask in ready if ask.kind == "score" and ask.include_end is end])

    def _echo(self, ask: Ask) -> None:
        echo(self._engine, ask)
        if ask.kind == "echo":
            self._end([ask])

    def _attempt(self, ask: Ask, work: Callable[[Ask], None]) -> bool:
        """Do something for one request alone; False when it failed."""
        try:
            work(ask)
        except Exception as error:
            self._failed(ask, error)
            return False
        return True

    def _read(self, asks: Sequence[Ask]) -> None:
        """Prompts into slots. When that fails, out of memory or otherwise, each half is tried by itself."""
        if not asks:
            return
        try:
            prefixes = self._engine.prefill_rows([ask.document for ask in asks], [ask.row for ask in asks])
        except Exception as error:
            if len(asks) == 1:
                self._failed(asks[0], error)
                return
            recover(self._engine, error)
            self._read(asks[: len(asks) // 2])
            self._read(asks[len(asks) // 2 :])
            return
        self._prefixes.update(zip(asks, prefixes))

    def _begin(self, loops: Loops[Any], asks: Sequence[Ask]) -> None:
        """Start what is done for several prompts together."""
        if asks:
            loops.begin([(ask, self._prefixes[ask]) for ask in asks], self._failed)

    def _end(self, asks: Sequence[Ask]) -> None:
        for ask in asks:
            ask.listener(Complete())
            self._leave(ask)

    def _leave(self, ask: Ask) -> None:
        """Give back all that it holds."""
        self._decoder.leave(ask)
        self._searches.leave(ask)
        self._scores.leave(ask)
        if (prefix := self._prefixes.pop(ask, None)) is not None:
            prefix.free()
        self._room.give_back(ask)

    def _failed(self, ask: Ask, error: Exception) -> None:
        """One request failed by itself."""
        recover(self._engine, error)
        ask.listener(Failed(_refusal(error)))
        self._leave(ask)

    def _fail_all(self, refusal: Refusal) -> None:
        with self._changed:
            self._line_up()
        for ask in [*self._waiting, *self._prefixes]:
            ask.listener(Failed(refusal))
            self._leave(ask)
        self._waiting.clear()


def _refusal(error: Exception) -> Refusal:
    """What the client is told; never where in the code it happened."""
    if isinstance(error, Refusal):
        return error
    if is_out_of_memory(error):
        return Refusal(
            503,
            "out of memory with this request: use a shorter prompt, fewer beams, answers or tokens",
            type="server_error",
            code="out_of_memory",
        )
    if isinstance(error, KosmosError):
        return Refusal(400, str(error))
    return internal_error()


def _stopped() -> Refusal:
    return Refusal(503, "the server is shutting down", type="server_error", code="shutting_down")
