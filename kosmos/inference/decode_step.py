"""Steps of few tokens over the decoder's weights, packed for it: what decoding, beams and candidates run on.

A decode step multiplies so little that Python and small operations cost as much as the products. Here queries, keys
and values are one product, rotations come from a table, and nothing is decided per layer. In fp32 the results are the
model's own, to 1e-5; weights may also be bf16 or int8. The packed form does not follow later changes of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kosmos.config import Precision
from kosmos.inference.quantization import Quantization, int8_linear
from kosmos.model.attention import KeyValueCache
from kosmos.model.decoder import Decoder, DecoderLayer
from kosmos.model.positions import sinusoidal, xpos

# Wider than this, the product of queries, keys and values takes so long that three calls cost nothing; the weights
# need not be held twice then.
_JOIN_UP_TO = 1024

# fp32 on a CPU: from so many rows on, oneDNN over weights in its own order is 1.3 to 1.6 times faster than F.linear. It
# takes a copy of the weights, so not for a decoder of more than so many; and a call costs more, so not for small ones.
_ORDER_FROM_ROWS = 4
_ORDER_FROM_WEIGHTS = 500_000
_ORDER_UP_TO = 256_000_000
# What oneDNN is told to choose an order for; other numbers of rows work too.
_USUAL_ROWS = 8

Linear = Callable[[Tensor], Tensor]  # [N, in] -> [N, out]


def step_dtype(decoder: Decoder, precision: Precision) -> torch.dtype:
    """The type of products, keys and values in steps."""
    return torch.bfloat16 if precision == "bf16" else decoder.embedding.weight.dtype


@dataclass(frozen=True)
class _Kind:
    """How products are done: in which type, in int8 or not, in oneDNN's order from how many rows on (None: never)."""

    dtype: torch.dtype
    quantization: Quantization | None
    order_from_rows: int | None


def _kind(decoder: Decoder, dtype: torch.dtype, quantization: Quantization | None) -> _Kind:
    order: int | None = None
    if decoder.embedding.weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        if dtype == torch.bfloat16:
            order = 0
        elif dtype == torch.float32 and sum(p.numel() for p in decoder.parameters()) <= _ORDER_UP_TO:
            order = _ORDER_FROM_ROWS
    return _Kind(dtype, quantization, order)


class PackedDecoder:
    """The decoder's weights as a decode step wants them. Shapes: B rows, T tokens each, N = B T, D hidden size."""

    def __init__(
        self, decoder: Decoder, precision: Precision = "fp32", quantization: Quantization | None = None
    ) -> None:
        config = decoder.config
        self._config = config
        self._embedding = decoder.embedding
        self.dtype = step_dtype(decoder, precision)
        self._num_heads = config.num_heads
        self._head_dim = config.hidden_size // config.num_heads
        layers = cast(Sequence[DecoderLayer], decoder.layers)
        kind = _kind(decoder, self.dtype, quantization)
        self._layers = [_PackedLayer(layer, kind) for layer in layers]
        self._norm = _Norm(decoder.layer_norm, torch.float32)
        self._head = _linear([(decoder.embedding.weight, None)], kind)
        # Tables of all positions: rotations complex64 [positions, 2, 1, d/2] of queries and of keys, or what is added.
        self._rotations: Tensor | None = None
        self._absolute: Tensor | None = None  # fp32 [positions, D]
        positions = torch.arange(config.max_positions, device=decoder.embedding.weight.device)[None]
        if config.position == "sinusoidal":
            self._absolute = sinusoidal(positions, config.hidden_size)[0]
        else:
            found = xpos(positions, self._head_dim, config.xpos_scale_base, config.max_positions // 2)
            self._rotations = torch.stack((found.queries[0, 0], found.keys[0, 0]), dim=1)[:, :, None]

    def __call__(self, token_ids: Tensor, step: KeyValueCache) -> Tensor:
        """Hidden states fp32 [B, T, D] of text tokens int64 [B, T] that continue the step's rows."""
        num_rows, num_tokens = token_ids.shape
        positions = step.positions(num_tokens)
        mask = step.mask(num_tokens)
        if mask is not None:  # once for all layers what attention would do in each
            mask = torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
        x = self._embedding(token_ids).flatten(0, 1).float()  # [N, D]
        rotation: Tensor | None = None
        if self._rotations is not None:
            rotation = self._rotations[positions]
        elif self._absolute is not None:
            x = x + self._absolute[positions].flatten(0, 1)
        for index, layer in enumerate(self._layers):
            x = layer(x, num_rows, rotation, mask, step, index)
        return self._norm(x).view(num_rows, num_tokens, -1)

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] -> logits fp32 [..., V]."""
        rows = hidden.reshape(-1, hidden.shape[-1]).to(self.dtype)
        return self._head(rows).float().view(*hidden.shape[:-1], -1)


class _PackedLayer:
    def __init__(self, layer: DecoderLayer, kind: _Kind) -> None:
        attention, ffn = layer.attention, layer.ffn
        self._num_heads, self._head_dim = attention.num_heads, attention.head_dim
        self._attention_norm = _Norm(layer.attention_pre_norm, kind.dtype)
        self._ffn_norm = _Norm(layer.ffn_pre_norm, kind.dtype)
        self._inner_attention_norm = (
            None if attention.inner_attn_ln is None else _Norm(attention.inner_attn_ln, kind.dtype)
        )
        self._inner_ffn_norm = None if ffn.ffn_layernorm is None else _Norm(ffn.ffn_layernorm, kind.dtype)
        parts = [(part.weight, part.bias) for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
        self._qkv = _linear(parts, kind)
        self._out, self._fc1, self._fc2 = (
            _linear([(part.weight, part.bias)], kind) for part in (attention.out_proj, ffn.fc1, ffn.fc2)
        )

    def __call__(
        self, x: Tensor, num_rows: int, rotation: Tensor | None, mask: Tensor | None, step: KeyValueCache, index: int
    ) -> Tensor:
        """x fp32 [N, D] -> [N, D]."""
        heads, size = self._num_heads, self._head_dim
        qkv = self._qkv(self._attention_norm(x)).view(num_rows, -1, 3, heads, size)
        if rotation is not None:
            floats = qkv.float()  # the same memory where it is fp32
            pairs = torch.view_as_complex(floats.view(num_rows, -1, 3, heads, size // 2, 2))
            pairs[:, :, :2].mul_(rotation)
            qkv = floats.to(qkv.dtype)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4).unbind()  # [B, H, T, d]
        keys, values = step.extend(index, keys, values)
        joined = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        joined = joined.transpose(1, 2).reshape(-1, heads * size)
        if self._inner_attention_norm is not None:
            joined = self._inner_attention_norm(joined)
        x = x + self._out(joined)
        inner = _gelu(self._fc1(self._ffn_norm(x)))
        if self._inner_ffn_norm is not None:
            inner = self._inner_ffn_norm(inner)
        return x + self._fc2(inner)


def _gelu(x: Tensor) -> Tensor:
    """GELU [N, F]. Of one fp32 row on a CPU by way of a transposed view, which takes torch's own kernel.

    Contiguous fp32 goes to oneDNN, whose call costs 20 microseconds more where each step brings other weights.
    """
    if len(x) > 1 or x.dtype != torch.float32 or x.device.type != "cpu" or x.shape[1] % 2:
        return F.gelu(x)
    return F.gelu(x.view(-1, 2).t()).t().view(x.shape)


class _Norm:
    """LayerNorm in fp32, its result in the type that the next product takes."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self._shape, self._eps, self._dtype = list(norm.normalized_shape), norm.eps, dtype
        self._weight, self._bias = norm.weight.detach().float(), norm.bias.detach().float()

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            x = x.float()
        # torch.layer_norm is what F.layer_norm calls, after a microsecond of its own.
        normed = torch.layer_norm(x, self._shape, self._weight, self._bias, self._eps)
        return normed if self._dtype == torch.float32 else normed.to(self._dtype)


def _linear(parts: Sequence[tuple[Tensor, Tensor | None]], kind: _Kind) -> Linear:
    """One product over the weights [out, in] (and biases) of `parts`, the results side by side."""
    if len(parts) > 1 and kind.quantization is None and parts[0][0].shape[1] > _JOIN_UP_TO:
        single = [_linear([part], kind) for part in parts]
        return lambda x: torch.cat([linear(x) for linear in single], dim=-1)
    weight = torch.cat([weight.detach() for weight, _ in parts]) if len(parts) > 1 else parts[0][0].detach()
    biases = [bias.detach() for _, bias in parts if bias is not None]
    bias = torch.cat(biases) if biases else None
    if kind.quantization == "int8":
        return int8_linear(weight, bias)
    weight, bias = weight.to(kind.dtype), None if bias is None else bias.to(kind.dtype)
    large = weight.numel() >= _ORDER_FROM_WEIGHTS or kind.dtype == torch.bfloat16
    if kind.order_from_rows is not None and large:
        return _OrderedLinear(weight, bias, kind.order_from_rows)
    return lambda x: F.linear(x, weight, bias)


class _OrderedLinear:
    """F.linear for few rows; from `order_from_rows` on oneDNN's, over weights put in order when first wanted."""

    def __init__(self, weight: Tensor, bias: Tensor | None, order_from_rows: int) -> None:
        self._weight, self._bias, self._order_from_rows = weight, bias, order_from_rows
        self._ordered: Tensor | None = self._order() if order_from_rows == 0 else None

    def _order(self) -> Tensor:
        ordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(self._weight, _USUAL_ROWS)
        return ordered

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[0] < self._order_from_rows:
            return F.linear(x, self._weight, self._bias)
        if self._ordered is None:
            self._ordered = self._order()
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._ordered, self._bias, "none", [], "")
        return product
