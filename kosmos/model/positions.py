"""Positions: xPos (KOSMOS-1, Table 17) and the sinusoidal form of Kosmos-2.

Everything is computed in fp32 from integer positions at each forward pass: bf16 cannot tell positions beyond 256
apart, and a table would set a limit to the length of a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_BASE = 10000.0
# Kosmos-2 counts positions from padding_idx + 1.
_SINUSOIDAL_OFFSET = 2


@dataclass(frozen=True)
class Rotation:
    """One complex factor per interleaved pair of a head, complex64 [B or 1, 1, T, d/2]: its angle turns the pair,
    its size scales it."""

    queries: Tensor
    keys: Tensor


def xpos(positions: Tensor, head_dim: int, scale_base: int, centre: int) -> Rotation:
    """The xPos rotation for `positions` int64 [B, T] (Sun et al. 2022; torchscale's form).

    Pair i turns by n * 10000^(-i / (d/2)); queries are scaled by zeta_i^((n - centre) / scale_base) and keys by its
    inverse, so only distances matter. The centre keeps exponents small and must be the same for all cached keys.
    """
    half = torch.arange(head_dim // 2, dtype=torch.float32, device=positions.device)
    inverse_frequency = _BASE ** (-half / (head_dim // 2))
    zeta = (2 * half + 0.4 * head_dim) / (1.4 * head_dim)
    angles = positions[:, None, :, None].float() * inverse_frequency
    exponent = (positions - centre)[:, None, :, None].float() / scale_base
    scale = zeta**exponent
    return Rotation(torch.polar(scale, angles), torch.polar(1 / scale, angles))


def rotate(x: Tensor, factors: Tensor) -> Tensor:
    """Multiply the pairs (2i, 2i+1) of x [B, H, T, d], as complex numbers, by `factors`; in fp32, returned as x's type.

    One complex product is several times faster on a CPU than the same four real ones written out.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * factors).flatten(-2).to(x.dtype)


def sinusoidal(positions: Tensor, hidden_size: int) -> Tensor:
    """Absolute positions [B, T] -> [B, T, D] in fp32: sines in the first half, cosines in the second."""
    half = hidden_size // 2
    step = math.log(_BASE) / (half - 1)
    frequency = torch.exp(torch.arange(half, dtype=torch.float32, device=positions.device) * -step)
    angles = (positions + _SINUSOIDAL_OFFSET)[..., None].float() * frequency
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
