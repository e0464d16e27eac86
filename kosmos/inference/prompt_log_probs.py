"""Log-probabilities of a prompt's own tokens, pictures among them, as echoing a prompt wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kosmos.batch import Sequence as Row
from kosmos.batch import collate

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine

# Positions whose logits are in memory at once.
_HEAD_TOKENS = 256

# The log-probability of a token and (token, log-prob) of the most probable ones in its place.
TokenLogProb = tuple[float, tuple[tuple[int, float], ...]]


def prompt_log_probs(engine: Engine, row: Row, top: int = 0) -> list[TokenLogProb | None]:
    """For each token of an encoded prompt; None for the first one, and for a picture's slots and their two marks.

    `top`: so many of the most probable tokens that may be generated, best first.
    """
    if not len(row):
        return []
    found: list[TokenLogProb | None] = [None]
    with engine.reading():
        batch = collate([row], engine.processor.tokenizer.pad_id).to(engine.device)
        keys = {engine.features.content_key(item): item for item in row.inputs}
        made = engine.embeddings.embed(keys)
        embedded = {
            name: torch.stack([made[engine.features.content_key(i)] for i in row.inputs if i.modality == name])
            for name in batch.inputs
        }
        hidden = engine.model(batch, embedded=embedded)[0]
        for first in range(0, len(row) - 1, _HEAD_TOKENS):
            targets = batch.token_ids[0, first + 1 : first + 1 + _HEAD_TOKENS]
            log_probs = engine.model.head(hidden[first : first + len(targets)]).float().log_softmax(-1)
            values = log_probs.gather(1, targets[:, None])[:, 0].tolist()
            tops: list[tuple[tuple[int, float], ...]] = [()] * len(values)
            if top:
                best, ids = log_probs.masked_fill(engine.forbidden, -torch.inf).topk(min(top, log_probs.shape[-1]))
                tops = [tuple(zip(*both)) for both in zip(ids.tolist(), best.tolist())]
            found += zip(values, tops)
    for item in row.inputs:
        for place in range(item.start - 1, item.start + item.num_slots + 1):
            found[place] = None
    return found
