"""Attention written out by blocks equals torch's, and drops weights as it should."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import kosmos.model.attention as attention
from kosmos.model.attention import attend


def tensors(tokens: int, keys: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(tokens + keys)
    queries, first, second = (torch.randn(2, 3, count, 8, requires_grad=True) for count in (tokens, keys, keys))
    return queries, first, second


@pytest.mark.parametrize(("tokens", "keys", "kind"), [
    (300, 300, "causal"), (128, 128, "causal"), (1, 1, "causal"), (70, 300, "all"), (150, 150, "mask"),
])  # fmt: skip
def test_by_blocks_equals_the_fused_kernel(monkeypatch: pytest.MonkeyPatch, tokens: int, keys: int, kind: str) -> None:
    monkeypatch.setattr(F, "dropout", lambda weights, rate: weights)  # only the arithmetic
    mask = None
    if kind == "mask":
        documents = torch.arange(keys) // 40
        mask = ((documents[:, None] == documents[None]).tril())[None, None]
    causal = kind == "causal"
    found: list[torch.Tensor | None] = []
    expected: list[torch.Tensor | None] = []
    for results, dropout in ((found, 0.1), (expected, 0.0)):
        q, k, v = tensors(tokens, keys)
        out = attend(q, k, v, mask, causal, dropout)
        out.square().sum().backward()
        results += [out, q.grad, k.grad, v.grad]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_dropout_acts_on_the_weights_and_keeps_their_mean() -> None:
    torch.manual_seed(0)
    queries, keys = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1000, 4)
    values = torch.ones(1, 1, 1000, 4)
    means = [float(attend(queries, keys, values, None, False, 0.1).mean()) for _ in range(50)]
    # Of 1,000 equal weights about 900 stay, each 1 / 0.9 as large: 1 in the mean, with a deviation of 0.0105.
    assert sum(means) / 50 == pytest.approx(1.0, abs=0.006)
    assert 0.005 < torch.tensor(means).std() < 0.02
    with torch.no_grad():  # not the written-out form, and with dropout all the same
        assert float(attend(queries, keys, values, None, False, 0.5).mean()) != 1.0


def test_without_dropout_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_attend_by_blocks", None)
    q, k, v = tensors(5, 5)
    out = attend(q, k, v, None, True, 0.0)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v, is_causal=True))
