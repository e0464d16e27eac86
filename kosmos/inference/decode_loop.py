"""The decode loop: several prompts continued together, one token each a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from kosmos.inference.generation import Decoding, FinishReason, Generation, TextStream
from kosmos.inference.prefix import Prefix
from kosmos.inference.search import Chooser

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine


class DecodeLoop:
    """Rows that decode together: each step writes one column per row, finished rows leave the batch."""

    def __init__(
        self, engine: Engine, prefixes: Sequence[Prefix], options: Sequence[Decoding], stream: bool = False
    ) -> None:
        tokenizer = engine.processor.tokenizer
        self._engine = engine
        self._options = options
        self._handles = [prefix.handle for prefix in prefixes]
        self._row_of = {handle: row for row, handle in enumerate(self._handles)}
        self._lengths = [len(prefix) for prefix in prefixes]
        self._end_id = tokenizer.eos_id
        self._limits = [min(o.max_new_tokens, engine.max_length - n) for o, n in zip(options, self._lengths)]
        self._chooser = Chooser(options, engine.forbidden, self._end_id)
        self._tokens: list[list[int]] = [[] for _ in prefixes]
        self._log_probs: list[list[float]] = [[] for _ in prefixes]
        self._reasons: list[FinishReason] = ["length"] * len(prefixes)
        self._texts = {
            row: TextStream(tokenizer.decode, option.stop, option.min_new_tokens)
            for row, option in enumerate(options)
            if option.stop or stream
        }
        self._delta = ""
        self._num_steps = 0
        self.active = list(range(len(prefixes)))
        self._logits = torch.stack([prefix.last_logits for prefix in prefixes])

    def advance(self) -> None:
        """Choose one token for every active row, and run the model on those rows that go on."""
        rows = self.active
        with torch.inference_mode():
            tokens, log_probs = self._chooser.choose(self._logits, rows, self._num_steps)
        self._num_steps += 1
        going = []
        for index, (row, token, log_prob) in enumerate(zip(rows, tokens, log_probs)):
            self._tokens[row].append(token)
            self._log_probs[row].append(log_prob)
            if not self._finished(row, token):
                going.append(index)
        self.active = [rows[index] for index in going]
        if going:
            self._step({rows[index]: tokens[index] for index in going})

    def _finished(self, row: int, token: int) -> bool:
        if token == self._end_id:
            self._reasons[row] = "end"
        text = self._texts.get(row)
        if text is not None and token != self._end_id:
            self._delta = text.push(token)
            if text.stopped:
                self._reasons[row] = "stop"
        done = self._reasons[row] != "length" or len(self._tokens[row]) == self._limits[row]
        if done and text is not None:
            self._delta = (self._delta if token != self._end_id else "") + text.finish()
        return done

    def _step(self, tokens: dict[int, int]) -> None:
        engine = self._engine
        ordered = engine.pool.arrange([self._handles[row] for row in self.active])
        self.active = [self._row_of[handle] for handle in ordered]
        columns = [self._lengths[row] + self._num_steps - 1 for row in self.active]
        starts = torch.tensor(columns, device=engine.device)
        uniform = columns[0] if min(columns) == max(columns) else None
        step = engine.pool.step(ordered, 1, starts, uniform)
        token_ids = torch.tensor([[tokens[row]] for row in self.active], device=engine.device)
        self._logits = engine.head(engine.forward_step(token_ids, step)[:, -1])

    def take_delta(self) -> str:
        """The text that the last step of a one-row stream made certain."""
        delta, self._delta = self._delta, ""
        return delta

    def result(self, row: int) -> Generation:
        """What came out for a row that has finished."""
        tokens = self._tokens[row]
        text = self._texts[row].text if row in self._texts else self._engine.processor.decode(tokens)
        log_probs = tuple(self._log_probs[row])
        return Generation(text, tuple(tokens), log_probs, self._reasons[row], math.fsum(log_probs))
