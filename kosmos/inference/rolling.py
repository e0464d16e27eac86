"""Log-probabilities of every token of given rows, as perplexity wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from kosmos.batch import Batch
from kosmos.errors import UsageError

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine

# Padded tokens of one pass, and positions whose logits are in memory at once.
_PASS_TOKENS = 8192
_HEAD_TOKENS = 512


def token_log_probs(engine: Engine, rows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """fp32 [T - 1] for each row of T text token ids: log-probability of each token but the first, given those before.

    Raises UsageError for a row longer than the model: it reads all tokens of a row but the last.
    """
    found: dict[int, torch.Tensor] = {}
    waiting = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    if waiting and len(rows[waiting[0]]) - 1 > engine.max_length:
        raise UsageError(f"a row of {len(rows[waiting[0]])} tokens exceeds the limit of {engine.max_length} tokens")
    while waiting:
        width = max(len(rows[waiting[0]]) - 1, 1)
        chosen = waiting[: max(1, _PASS_TOKENS // width)]
        waiting = waiting[len(chosen) :]
        # Padding stands behind every real token, so causality hides it.
        token_ids = torch.full((len(chosen), width), engine.processor.tokenizer.pad_id)
        for place, index in enumerate(chosen):
            token_ids[place, : max(len(rows[index]) - 1, 0)] = torch.tensor(rows[index][:-1], dtype=torch.long)
        with engine.reading():
            batch = Batch(token_ids.to(engine.device), torch.zeros_like(token_ids, dtype=torch.bool))
            hidden = engine.model(batch)
            for place, index in enumerate(chosen):
                targets = torch.tensor(rows[index][1:], dtype=torch.long, device=engine.device)
                parts = []
                for first in range(0, len(targets), _HEAD_TOKENS):
                    some = targets[first : first + _HEAD_TOKENS]
                    logits = engine.model.head(hidden[place, first : first + len(some)]).float()
                    parts.append(logits.log_softmax(-1).gather(1, some[:, None])[:, 0].cpu())
                found[index] = torch.cat(parts) if parts else torch.zeros(0)
    return [found[index] for index in range(len(rows))]
