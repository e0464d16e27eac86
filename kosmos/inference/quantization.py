"""int8 weights for decoding: one scale for each output channel, symmetric; what goes in is quantised as it comes.

The products are torch's own (`quantized.linear_dynamic`, of FBGEMM): of what torch has for a CPU they were the
fastest at 1 to 8 rows. A call costs 15 microseconds before it multiplies: a decoder 64 wide is slower than in fp32, one
512 wide faster. The scale of what goes in is one for all rows of a step, so a batch is not bit for bit what its rows
would be alone; `kosmos.inference.effect` measures what int8 changes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kosmos.errors import UsageError

Quantization = Literal["int8"]


def check_quantization(quantization: str | None, device: torch.device) -> None:
    """Raises UsageError for an unknown kind, or one that this device or this torch cannot run."""
    if quantization is None:
        return
    if quantization != "int8":
        raise UsageError(f"quantization '{quantization}' is unknown; there is int8")
    if device.type == "cpu" and "fbgemm" not in torch.backends.quantized.supported_engines:
        raise UsageError("quantization int8 needs a torch with FBGEMM (x86 processors); leave it out")


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [out, in] -> int8 [out, in] and fp32 scales [out]; a weight is about its integer times the scale."""
    weight = weight.detach().float()
    scales = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return (weight / scales[:, None]).round().to(torch.int8), scales


def int8_linear(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """[N, in] -> [N, out] with the weights in int8; the result is of the type of what goes in."""
    integers, scales = quantize(weight)
    if weight.device.type != "cpu":
        # Memory is saved, time is not: the weights are made floats again before the product.
        return _WeightOnly(integers, scales, bias)
    with warnings.catch_warnings():  # torch 2.13 says that tensors with scales inside will go one day
        warnings.filterwarnings("ignore", message=".*quantized tensor")
        zeros = torch.zeros(len(scales), dtype=torch.long)
        packed = torch.ops.quantized.linear_prepack(
            torch._make_per_channel_quantized_tensor(integers, scales.double(), zeros, 0),
            None if bias is None else bias.float(),
        )
    # The operation itself: through torch.ops each call first looks at its arguments in Python, for microseconds.
    linear_dynamic = getattr(torch.ops.quantized.linear_dynamic, "_op", torch.ops.quantized.linear_dynamic)

    def linear(x: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            product: Tensor = linear_dynamic(x, packed, False)
            return product
        return linear_dynamic(x.float(), packed, False).to(x.dtype)

    return linear


class _WeightOnly:
    """Products of floats with int8 weights made floats again."""

    def __init__(self, integers: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        self._integers, self._scales, self._bias = integers, scales, bias

    def __call__(self, x: Tensor) -> Tensor:
        product = F.linear(x, self._integers.to(x.dtype)) * self._scales.to(x.dtype)
        return product if self._bias is None else product + self._bias.to(x.dtype)
