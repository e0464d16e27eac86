"""Choosing the next token: greedy or drawn, for all rows of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kosmos.inference.generation import Decoding

# Uniform numbers are drawn in blocks of this size, so a request's draws depend on its seed alone.
_BLOCK = 64


class Chooser:
    """Picks tokens for rows that each have their own `Decoding`; a row is a number: its index in `options`, or what
    `add` was given."""

    def __init__(self, options: Sequence[Decoding], forbidden: Tensor, end_id: int) -> None:
        self._options = dict(enumerate(options))
        self._forbidden = forbidden  # bool [V]
        self._end_id = end_id
        self._generators: dict[int, torch.Generator] = {}
        self._draws: dict[int, list[float]] = {}

    def add(self, row: int, option: Decoding) -> None:
        """A row that comes later."""
        self._options[row] = option

    def remove(self, row: int) -> None:
        """Forget a row."""
        del self._options[row]
        self._generators.pop(row, None)
        self._draws.pop(row, None)

    def choose(self, logits: Tensor, rows: Sequence[int], step: int | Sequence[int]) -> tuple[list[int], list[float]]:
        """logits fp32 [B, V] of `rows` -> their tokens, and the tokens' log-probabilities over the whole vocabulary.

        `step`: how many tokens the rows have already, one number for all or one each.
        """
        allowed = logits.masked_fill(self._forbidden, -torch.inf)
        options = [self._options[row] for row in rows]
        steps = [step] * len(options) if isinstance(step, int) else step
        early = [index for index, option in enumerate(options) if steps[index] < option.min_new_tokens]
        if early:
            allowed[early, self._end_id] = -torch.inf
        tokens = allowed.argmax(-1)
        drawn = [index for index, option in enumerate(options) if option.temperature > 0]
        if drawn:
            tokens[drawn] = self._sample(allowed[drawn], [rows[index] for index in drawn])
        log_probs = logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(-1)
        return tokens.tolist(), log_probs.tolist()

    def _sample(self, logits: Tensor, rows: list[int]) -> Tensor:
        options = [self._options[row] for row in rows]
        size = logits.shape[-1]

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device=logits.device)[:, None]

        below = logits.double() - logits.amax(-1, keepdim=True)  # 0 at most, so that no temperature is too small
        scaled = below / column([option.temperature for option in options])
        ordered, indices = scaled.sort(dim=-1, descending=True, stable=True)
        top_k = column([option.top_k or size for option in options])
        ordered = ordered.masked_fill(torch.arange(size, device=logits.device) >= top_k, -torch.inf)
        probs = ordered.softmax(-1)
        before = probs.cumsum(-1) - probs
        # The first token is always kept, however small top_p is.
        outside = before >= column([option.top_p for option in options])
        outside[:, 0] = False
        sums = probs.masked_fill(outside, 0.0).cumsum(-1)
        target = column([self._uniform(row) for row in rows]) * sums[:, -1:]
        place = torch.searchsorted(sums, target, right=True).clamp_(max=size - 1)
        # Rounding may leave the target at the very end, past the last token that may be drawn.
        last = (probs.masked_fill(outside, 0.0) > 0).sum(-1, keepdim=True) - 1
        return indices.gather(-1, torch.minimum(place, last))[:, 0]

    def _uniform(self, row: int) -> float:
        """The next number in [0, 1) of this row's own generator."""
        if row not in self._generators:
            self._generators[row] = torch.Generator().manual_seed(self._options[row].seed)
            self._draws[row] = []
        if not self._draws[row]:
            block = torch.rand(_BLOCK, generator=self._generators[row], dtype=torch.float64)
            self._draws[row] = block.tolist()[::-1]
        return self._draws[row].pop()
