"""Rows that decode together, one token each a step; they may join at any step and leave when they like.

A row has its own options, its own count of steps and its own text, so its answer is the one it would have alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kosmos.inference.generation import Decoding, FinishReason, Generation, TextStream
from kosmos.inference.prefix import Prefix
from kosmos.inference.search import Chooser

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine


class LiveRow:
    """One continuation in the making; made by `LiveBatch.join`.

    tokens, log_probs   what was chosen so far, and its log-probability over the whole vocabulary
    starts              characters of text before each token, where the text is followed
    tops                (token, log-prob) of the most probable allowed ones, best first, where `top` asks for them
    reason              why it ended; None while it goes on
    """

    def __init__(
        self, prefix: Prefix, options: Decoding, number: int, limit: int, text: TextStream | None, top: int
    ) -> None:
        self.prefix = prefix
        self.options = options
        self.number = number
        self.limit = limit
        self.text = text
        self.top = top
        self.tokens: list[int] = []
        self.log_probs: list[float] = []
        self.starts: list[int] = []
        self.tops: list[tuple[tuple[int, float], ...]] = []
        self.reason: FinishReason | None = None
        self.logits = prefix.last_logits  # fp32 [V]: of the token behind those chosen
        self.is_behind = False  # whether the last token chosen has yet to be run
        self._delta = ""

    @property
    def column(self) -> int:
        """Where the keys and values of the last token chosen belong."""
        return len(self.prefix) + len(self.tokens) - 1

    def take(self, token: int, log_prob: float, end_id: int) -> None:
        """One more token; sets `reason` when it was the last."""
        if self.text is not None:
            self.starts.append(len(self.text.text))
        self.tokens.append(token)
        self.log_probs.append(log_prob)
        if token == end_id:
            self.reason = "end"
        elif self.text is not None:
            self._delta += self.text.push(token)
            if self.text.stopped:
                self.reason = "stop"
        if self.reason is None and len(self.tokens) == self.limit:
            self.reason = "length"
        if self.reason is not None and self.text is not None:
            self._delta += self.text.finish()
        self.is_behind = self.reason is None

    def take_delta(self) -> str:
        """The text that became certain since the last call."""
        delta, self._delta = self._delta, ""
        return delta

    def result(self) -> Generation:
        """What came out of a row that has ended."""
        assert self.reason is not None
        decode = self.prefix.engine.processor.decode
        text = decode(self.tokens) if self.text is None else self.text.text
        return Generation(text, tuple(self.tokens), tuple(self.log_probs), self.reason, math.fsum(self.log_probs))


class LiveBatch:
    """The rows that go on. The prefixes stay their owners': they must live as long as their rows, and be used by none
    else meanwhile."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._end_id = engine.processor.tokenizer.eos_id
        self._chooser = Chooser((), engine.forbidden, self._end_id)
        self._next_number = 0
        self._block: tuple[list[LiveRow], Tensor] | None = None  # rows and logits [B, V] of the last run
        self.rows: list[LiveRow] = []

    def join(self, prefix: Prefix, options: Decoding, *, stream: bool = False, top: int = 0) -> LiveRow:
        """A row that goes on from the next step. `stream`: its text is wanted piece by piece, and the tokens' places.

        `top`: so many of the most probable tokens are noted at each step.
        """
        decode = self._engine.processor.tokenizer.decode
        follow = stream or bool(options.stop)
        text = TextStream(decode, options.stop, options.min_new_tokens) if follow else None
        limit = min(options.max_new_tokens, self._engine.max_length - len(prefix))
        row = LiveRow(prefix, options, self._next_number, limit, text, top)
        self._next_number += 1
        self._chooser.add(row.number, options)
        self.rows.append(row)
        return row

    def leave(self, row: LiveRow) -> None:
        """The row goes on no more; harmless when it has ended."""
        if row in self.rows:
            self.rows.remove(row)
            self._chooser.remove(row.number)

    def advance(self) -> list[LiveRow]:
        """One more token for every row; the rows that ended with it, which have left."""
        self.run(self.rows)
        return self.choose()

    def run(self, rows: Sequence[LiveRow]) -> None:
        """Run the model on those of the rows whose last token was not run. After an error it may be tried again, with
        fewer rows together."""
        by_handle = {row.prefix.handle: row for row in rows if row.is_behind}
        if not by_handle:
            return
        engine = self._engine
        handles = engine.pool.arrange(list(by_handle))
        ordered = [by_handle[handle] for handle in handles]
        columns = [row.column for row in ordered]
        uniform = columns[0] if min(columns) == max(columns) else None
        step = engine.pool.step(handles, 1, torch.tensor(columns, device=engine.device), uniform)
        token_ids = torch.tensor([[row.tokens[-1]] for row in ordered], device=engine.device)
        logits = engine.head(engine.forward_step(token_ids, step)[:, -1])
        for row, line in zip(ordered, logits):
            row.logits, row.is_behind = line, False
        self._block = ordered, logits

    def choose(self) -> list[LiveRow]:
        """Choose one token for every row, all of which have been run; the rows that ended with it, which have left."""
        if not self.rows:
            return []
        with torch.inference_mode():
            rows, logits = self._gathered()
            tokens, log_probs = self._chooser.choose(logits, [r.number for r in rows], [len(r.tokens) for r in rows])
            self._note_tops(rows, logits)
        for row, token, log_prob in zip(rows, tokens, log_probs):
            row.take(token, log_prob, self._end_id)
        ended = [row for row in rows if row.reason is not None]
        for row in ended:
            self.leave(row)
        return ended

    def _gathered(self) -> tuple[list[LiveRow], Tensor]:
        """The rows and their logits [B, V]; without a copy when they are those of the last run."""
        if self._block is not None and len(self._block[0]) == len(self.rows):
            ordered, logits = self._block
            if set(ordered) == set(self.rows):
                return ordered, logits
        return list(self.rows), torch.stack([row.logits for row in self.rows])

    def _note_tops(self, rows: Sequence[LiveRow], logits: Tensor) -> None:
        wanted = [index for index, row in enumerate(rows) if row.top]
        if not wanted:
            return
        chosen = logits[wanted]
        most = min(max(rows[index].top for index in wanted), chosen.shape[-1])
        best, tokens = chosen.masked_fill(self._engine.forbidden, -torch.inf).topk(most, dim=-1)
        # As the chooser does it, so that the token chosen has the same figure here to the last digit.
        log_probs = best - chosen.logsumexp(-1, keepdim=True)
        for index, values, ids in zip(wanted, log_probs.tolist(), tokens.tolist()):
            count = rows[index].top
            rows[index].tops.append(tuple(zip(ids[:count], values[:count])))
