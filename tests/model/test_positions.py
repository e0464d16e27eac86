"""Positions: xPos against its formula written out, and the sinusoidal form."""

from __future__ import annotations

import math

import pytest
import torch

from kosmos.model.positions import rotate, sinusoidal, xpos


def _score(query: torch.Tensor, key: torch.Tensor, query_at: int, key_at: int, centre: int = 1024) -> float:
    rotation = xpos(torch.tensor([[query_at, key_at]]), query.shape[-1], 512, centre)
    turned_query = rotate(query.expand(1, 1, 2, -1), rotation.queries)[0, 0, 0]
    turned_key = rotate(key.expand(1, 1, 2, -1), rotation.keys)[0, 0, 1]
    return float(turned_query @ turned_key)


def test_rotation_written_out() -> None:
    torch.manual_seed(0)
    dim, at, centre = 8, 37, 16
    x = torch.randn(1, 1, 1, dim)
    rotation = xpos(torch.tensor([[at]]), dim, 512, centre)
    for factors, sign in ((rotation.queries, 1), (rotation.keys, -1)):
        found = rotate(x, factors)[0, 0, 0]
        for pair in range(dim // 2):
            angle = at * 10000 ** (-pair / (dim / 2))
            scale = ((2 * pair + 0.4 * dim) / (1.4 * dim)) ** (sign * (at - centre) / 512)
            even, odd = x[0, 0, 0, 2 * pair].item(), x[0, 0, 0, 2 * pair + 1].item()
            turned = complex(even, odd) * scale * complex(math.cos(angle), math.sin(angle))
            assert found[2 * pair].item() == pytest.approx(turned.real, abs=1e-5)
            assert found[2 * pair + 1].item() == pytest.approx(turned.imag, abs=1e-5)


def test_only_distance_matters_and_far_keys_fade() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(64), torch.randn(64)
    near = _score(query, key, 100, 40)
    assert _score(query, key, 1900, 1840) == pytest.approx(near, abs=2e-3)
    assert _score(query, key, 100, 40, centre=0) == pytest.approx(near, abs=1e-3)
    ones = torch.ones(64)
    # The published figures for identical queries and keys: 0.08 at distance 2,047 and 0.18 at 1,024.
    assert _score(ones, ones, 2047, 0) / 64 == pytest.approx(0.08, abs=0.01)
    assert _score(ones, ones, 1024, 0) / 64 == pytest.approx(0.18, abs=0.01)


def test_bf16_input_is_rotated_in_fp32() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 4, 16).bfloat16()
    rotation = xpos(torch.tensor([[2040, 2041, 2042, 2043]]), 16, 512, 1024)
    found = rotate(x, rotation.queries)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, rotate(x.float(), rotation.queries).bfloat16())
    assert rotation.queries.dtype == torch.complex64
    # In bf16 these four positions would be one.
    assert len(torch.unique(rotation.queries[0, 0, :, 0].real)) == 4


def test_sinusoidal_starts_at_two() -> None:
    found = sinusoidal(torch.tensor([[0, 5]]), 8)
    assert found.shape == (1, 2, 8)
    for row, position in ((0, 2), (1, 7)):
        for index in range(4):
            angle = position * math.exp(-index * math.log(10000) / 3)
            assert found[0, row, index].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[0, row, index + 4].item() == pytest.approx(math.cos(angle), abs=1e-6)
