"""Multi-head attention, what may be seen by whom, and the face a key-value cache must have."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kosmos.model.positions import Rotation, rotate


class KeyValueCache(Protocol):
    """Keys and values of the tokens seen so far, kept per layer.

    Keys arrive rotated already (xPos with one fixed centre), so they are never touched again.
    """

    def positions(self, num_tokens: int) -> Tensor:
        """Positions int64 [B, T] of the `num_tokens` new tokens, padding not counted."""
        ...

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append [B, H, T, d] to a layer; returns everything so far, [B, H, S, d]."""
        ...

    def mask(self, num_tokens: int) -> Tensor | None:
        """bool [B, 1, T, S], True where a new token may attend; None when all of them may see all keys."""
        ...


@dataclass(frozen=True)
class Visibility:
    """Who sees whom in one forward pass. `mask` bool [B, 1, T, S] or None; without a mask, causal if `is_causal`.

    `positions` int64 [B or 1, T]: how many visible tokens stand before each token.
    """

    positions: Tensor
    mask: Tensor | None
    is_causal: bool


def visibility(
    num_tokens: int, segment_ids: Tensor | None, cache: KeyValueCache | None, device: torch.device
) -> Visibility:
    """Visibility of rows of `num_tokens` tokens; `segment_ids` [B, T]: only tokens of the same id see each other."""
    if cache is not None:
        return Visibility(cache.positions(num_tokens), cache.mask(num_tokens), is_causal=False)
    if segment_ids is None:
        return Visibility(torch.arange(num_tokens, device=device)[None], None, is_causal=True)
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    allowed = same.tril()
    return Visibility(allowed.sum(-1) - 1, allowed[:, None], is_causal=False)


# On a CPU, torch's backward pass of bf16 attention over short rows is slower than that of fp32: 3.7 times at 64 keys,
# and at 512 keys it is 1.4 times faster.
_SHORT_ON_CPU = 256
# Queries that attend together where the weights are laid out: of a causal row only the keys before are looked at.
_BLOCK = 128


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool, dropout: float
) -> Tensor:
    """Scaled dot-product attention: queries [B, H, T, d] over keys and values [B, H, S, d] -> [B, H, T, d].

    `mask` bool [B or 1, 1, T, S], True where a query may look. `dropout` acts on the attention weights.
    """
    training_on_cpu = queries.device.type == "cpu" and torch.is_grad_enabled()
    if training_on_cpu and dropout > 0:
        return _attend_by_blocks(queries, keys, values, mask, is_causal, dropout)
    dtype = queries.dtype
    slow_backward = training_on_cpu and dtype == torch.bfloat16 and keys.shape[2] < _SHORT_ON_CPU
    if slow_backward:
        queries, keys, values = queries.float(), keys.float(), values.float()
    with torch.autocast("cpu", enabled=False) if slow_backward else nullcontext():
        joined = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=is_causal
        )
    return joined.to(dtype)


def _attend_by_blocks(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool, dropout: float
) -> Tensor:
    """The same written out, block of queries by block: torch has no fused CPU kernel with dropout.

    Its fallback makes all weights of a causal row, of which half are zero; this is 2.4 times faster at 512 tokens.
    """
    length = keys.shape[2]
    queries = queries * queries.shape[-1] ** -0.5
    joined = []
    for first in range(0, queries.shape[2], _BLOCK):
        block = queries[:, :, first : first + _BLOCK]
        seen = first + block.shape[2] if is_causal else length
        scores = block @ keys[:, :, :seen].transpose(-1, -2)
        if is_causal:
            below = torch.ones(block.shape[2], seen, dtype=torch.bool, device=scores.device).tril(first)
            scores = scores.masked_fill(~below, -torch.inf)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, :, first : first + _BLOCK, :seen], -torch.inf)
        weights = F.dropout(scores.softmax(-1), dropout)
        joined.append(weights.to(values.dtype) @ values[:, :, :seen])
    return torch.cat(joined, dim=2)


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with biased projections; with `sub_ln`, a LayerNorm over all heads joined.

    The inner LayerNorm stands between the joined heads and `out_proj` (Magneto). `dropout` acts on the attention
    weights, in training only.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, dropout: float, sub_ln: bool = False, layer_norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = hidden_size // num_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(hidden_size, hidden_size)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.inner_attn_ln = nn.LayerNorm(hidden_size, eps=layer_norm_eps) if sub_ln else None
        self.out_proj = nn.Linear(hidden_size, hidden_size)

    def _split(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, d]."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        joined = attend(queries, keys, values, mask, is_causal, dropout)
        joined = joined.transpose(1, 2).flatten(-2)
        if self.inner_attn_ln is not None:
            joined = self.inner_attn_ln(joined)
        result: Tensor = self.out_proj(joined)
        return result

    def forward(self, queries: Tensor, keys_values: Tensor) -> Tensor:
        """Cross-attention: queries [B, T, D] over keys and values [B, S, D], nothing hidden."""
        return self._attend(
            self._split(self.q_proj(queries)),
            self._split(self.k_proj(keys_values)),
            self._split(self.v_proj(keys_values)),
            mask=None,
            is_causal=False,
        )


class CausalSelfAttention(MultiHeadAttention):
    """Self-attention of the decoder: rotated queries and keys, a causal or given mask, an optional cache."""

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        seen: Visibility,
        rotation: Rotation | None,
        cache: KeyValueCache | None,
        layer: int,
    ) -> Tensor:
        """x [B, T, D] -> [B, T, D]; `layer` is the index under which the cache keeps this layer's keys."""
        queries = self._split(self.q_proj(x))
        keys = self._split(self.k_proj(x))
        values = self._split(self.v_proj(x))
        if rotation is not None:
            queries = rotate(queries, rotation.queries)
            keys = rotate(keys, rotation.keys)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        return self._attend(queries, keys, values, seen.mask, seen.is_causal)
