"""What an option of the engine (int8, bf16) changes in the scores: two engines over the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kosmos.document import Document
from kosmos.inference.engine import Engine


@dataclass(frozen=True)
class Effect:
    """Changes over `num_tokens` tokens, natural logarithms.

    largest, mean   change of the log-probability of a token, as a size without sign
    same_greedy     share of places where the most probable token is the same
    """

    largest: float
    mean: float
    same_greedy: float
    num_tokens: int


def effect_on_scores(plain: Engine, changed: Engine, documents: Sequence[Document], max_new_tokens: int = 32) -> Effect:
    """Continue each document greedily with `plain`, then ask both engines for every token of that, one by one."""
    changes: list[Tensor] = []
    same: list[Tensor] = []
    for document in documents:
        with plain.prefill(document) as prefix:
            token_ids = prefix.greedy(max_new_tokens).token_ids
        one, other = (_logits(engine, document, token_ids) for engine in (plain, changed))
        forbidden = plain.forbidden.cpu()
        picked = torch.tensor(token_ids)[:, None]
        changes.append((one.log_softmax(-1).gather(1, picked) - other.log_softmax(-1).gather(1, picked)).abs()[:, 0])
        best = [logits.masked_fill(forbidden, -torch.inf).argmax(-1) for logits in (one, other)]
        same.append((best[0] == best[1]).float())
    everything, agreed = torch.cat(changes), torch.cat(same)
    return Effect(float(everything.max()), float(everything.mean()), float(agreed.mean()), len(agreed))


def _logits(engine: Engine, document: Document, token_ids: Sequence[int]) -> Tensor:
    """fp32 [n, V] on the CPU: before each of n tokens that follow the document, step by step as in decoding."""
    with engine.prefill(document) as prefix:
        found = [prefix.last_logits]
        for index, token in enumerate(token_ids[:-1]):
            column = len(prefix) + index
            starts = torch.tensor([column], device=engine.device)
            step = engine.pool.step([prefix.handle], 1, starts, column)
            ids = torch.tensor([[token]], device=engine.device)
            found.append(engine.head(engine.forward_step(ids, step))[0, 0])
        return torch.stack(found).cpu()
