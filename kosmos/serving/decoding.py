"""Greedy and drawn answers: rows of one live batch, and the events that their steps make."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kosmos.inference.engine import Engine
from kosmos.inference.live_batch import LiveBatch, LiveRow
from kosmos.inference.prefix import Prefix
from kosmos.serving.asks import Ask, Finished, Piece, TokenScore
from kosmos.serving.metrics import Metrics
from kosmos.serving.recovery import recover

Fail = Callable[[Ask, Exception], None]


@dataclass(eq=False)
class _Answer:
    """One row and how much of it was told: characters of its text, and its tokens."""

    ask: Ask
    choice: int
    row: LiveRow
    own: Prefix | None  # the slot of a further draw
    characters: int = 0
    tokens: int = 0


class Decoder:
    """Keeps the live batch of one engine."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._batch = LiveBatch(engine)
        self._answers: dict[LiveRow, _Answer] = {}
        self._of_ask: dict[Ask, list[_Answer]] = {}

    def join(self, ask: Ask, prefix: Prefix) -> None:
        """All draws of a request start with the next step; each but the first has a copy of the prompt."""
        answers = self._of_ask[ask] = []
        for draw in range(ask.options.num_results):
            own = prefix.fork() if draw else None
            follow = ask.stream or ask.top is not None
            row = self._batch.join(own or prefix, ask.options.of_draw(draw), stream=follow, top=ask.top or 0)
            answer = _Answer(ask, draw, row, own)
            answers.append(answer)
            self._answers[row] = answer

    def leave(self, ask: Ask) -> None:
        """Its rows go on no more; harmless when it has none."""
        for answer in self._of_ask.pop(ask, []):
            self._batch.leave(answer.row)
            del self._answers[answer.row]
            if answer.own is not None:
                answer.own.free()

    def step(self, fail: Fail) -> list[Ask]:
        """One more token for every row; the requests that are complete with it. Those that fail alone go to `fail`."""
        if not self._batch.rows:
            return []
        self._metrics.batch_rows(len(self._batch.rows))
        self._run(list(self._batch.rows), fail)
        rows = list(self._batch.rows)
        self._batch.choose()
        self._metrics.generated(len(rows))
        complete = []
        for answer in [self._answers[row] for row in rows]:
            if len(answer.row.tokens) == 1 and answer.choice == 0:
                self._metrics.first_token(time.monotonic() - answer.ask.arrived)
            self._tell(answer)
            if all(other.row.reason is not None for other in self._of_ask[answer.ask]):
                complete.append(answer.ask)
        return list(dict.fromkeys(complete))

    def _run(self, rows: Sequence[LiveRow], fail: Fail) -> None:
        """Run the model on the rows. When that fails each half is tried by itself, and one that fails alone leaves."""
        try:
            self._batch.run(rows)
        except Exception as error:
            if len(rows) == 1:
                if rows[0] in self._answers:
                    fail(self._answers[rows[0]].ask, error)
                return
            recover(self._engine, error)
            self._run(rows[: len(rows) // 2], fail)
            self._run(rows[len(rows) // 2 :], fail)

    def _tell(self, answer: _Answer) -> None:
        row, ask = answer.row, answer.ask
        if ask.stream:
            delta = row.take_delta()
            answer.characters += len(delta)
            tokens = self._tokens(answer, answer.characters)
            if delta or tokens:
                ask.listener(Piece(answer.choice, delta, row.tokens[0], tokens))
        if row.reason is not None:
            made = row.result()
            ask.listener(Finished(answer.choice, made, self._tokens(answer, len(made.text))))

    def _tokens(self, answer: _Answer, end: int) -> tuple[TokenScore, ...]:
        """The tokens of the text up to `end` that were not told; none where nobody wants them.

        Neither `</s>` is among them nor what stands behind a stop string's beginning: they are not in the text.
        """
        row = answer.row
        if answer.ask.top is None:
            return ()
        told, end_id = [], self._engine.processor.tokenizer.eos_id
        while answer.tokens < len(row.tokens) and row.starts[answer.tokens] < end:
            place = answer.tokens
            answer.tokens += 1
            if row.tokens[place] != end_id:
                top = row.tops[place] if row.top else ()
                told.append(TokenScore(row.tokens[place], row.log_probs[place], row.starts[place], top))
        return tuple(told)
