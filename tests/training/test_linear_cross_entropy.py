"""The head with its loss by blocks, against autograd's own way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kosmos.training import linear_cross_entropy as module
from kosmos.training.linear_cross_entropy import linear_cross_entropy
from tests.training.live_memory import LiveMemory

IGNORED = -100
WIDTH, VOCABULARY = 24, 53


@pytest.fixture(params=[1, 3, 7, 64], ids=lambda rows: f"{rows} rows a block")
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks of so many rows, for whatever size."""
    monkeypatch.setattr(module, "_WORTH", 0)
    monkeypatch.setitem(module._BLOCK, "cpu", request.param * VOCABULARY + 1)
    rows: int = request.param
    return rows


def inputs(count: int, ignored: list[int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(count)
    hidden = (2 * torch.randn(count, WIDTH)).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH).to(dtype).requires_grad_()
    targets = torch.randint(VOCABULARY, (count,))
    targets[ignored] = IGNORED
    return hidden, weight, targets


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients in fp64."""
    hidden, weight = (tensor.detach().double().requires_grad_() for tensor in (hidden, weight))
    loss = F.cross_entropy(hidden @ weight.T, targets, reduction="sum", ignore_index=IGNORED)
    loss.backward()
    assert hidden.grad is not None and weight.grad is not None
    return loss.detach(), hidden.grad, weight.grad


# 30 rows are several blocks and several joins of them (4) with a rest; 28 none; 1 is a single row.
@pytest.mark.parametrize(("count", "ignored"), [(30, []), (30, [0, 3, 4, 29]), (28, list(range(7))), (1, []), (5, [4])])
def test_as_plain_autograd(blocks: int, count: int, ignored: list[int]) -> None:
    hidden, weight, targets = inputs(count, ignored)
    loss = linear_cross_entropy(hidden, weight, targets, IGNORED)
    assert loss.dtype == torch.float32 and loss.shape == ()
    (loss / 7).backward()
    expected, of_hidden, of_weight = plain(hidden, weight, targets)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-6)
    assert hidden.grad is not None and weight.grad is not None
    torch.testing.assert_close(hidden.grad.double(), of_hidden / 7, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(weight.grad.double(), of_weight / 7, atol=2e-6, rtol=1e-5)
    assert not hidden.grad[ignored].any()


def test_nothing_but_ignored_targets(blocks: int) -> None:
    hidden, weight, targets = inputs(9, list(range(9)))
    loss = linear_cross_entropy(hidden, weight, targets, IGNORED)
    loss.backward()
    assert loss.item() == 0.0
    assert hidden.grad is not None and weight.grad is not None
    assert not hidden.grad.any() and not weight.grad.any()


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=["fp32 weights", "bf16 weights"])
def test_bf16_is_no_worse_than_autograds_own(blocks: int, stored: torch.dtype) -> None:
    hidden, weight, targets = inputs(30, [2, 17], stored)
    expected, of_hidden, of_weight = plain(hidden, weight, targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets, IGNORED)
        usual = F.cross_entropy(
            F.linear(hidden, weight).float(), targets, reduction="sum", ignore_index=IGNORED
        )  # fmt: skip
    own = torch.autograd.grad(usual, (hidden, weight))
    assert float(loss.detach()) == pytest.approx(float(usual.detach()), rel=1e-5)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-2)
    loss.backward()
    assert hidden.grad is not None and weight.grad is not None
    assert (hidden.grad.dtype, weight.grad.dtype) == (stored, stored)
    assert relative(hidden.grad, of_hidden) <= 1.1 * relative(own[0], of_hidden) < 0.02
    assert relative(weight.grad, of_weight) <= 1.1 * relative(own[1], of_weight) < 0.02


def test_what_does_not_learn(blocks: int) -> None:
    """Without gradients, or with those of one of the two only."""
    hidden, weight, targets = inputs(30, [5])
    expected, of_hidden, of_weight = plain(hidden, weight, targets)
    with torch.no_grad():
        silent = linear_cross_entropy(hidden, weight, targets, IGNORED)
    assert not silent.requires_grad
    assert float(silent) == pytest.approx(float(expected), rel=1e-6)
    linear_cross_entropy(hidden, weight.detach(), targets, IGNORED).backward()
    linear_cross_entropy(hidden.detach(), weight, targets, IGNORED).backward()
    torch.testing.assert_close(hidden.grad.double(), of_hidden, atol=2e-6, rtol=1e-5)  # type: ignore[union-attr]
    torch.testing.assert_close(weight.grad.double(), of_weight, atol=2e-6, rtol=1e-5)  # type: ignore[union-attr]


def test_twice_the_same_bits(blocks: int) -> None:
    found = []
    for _ in range(2):
        hidden, weight, targets = inputs(30, [5])
        loss = linear_cross_entropy(hidden, weight, targets, IGNORED)
        found.append([loss.detach(), *torch.autograd.grad(loss, (hidden, weight))])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_gradients_add_up_and_no_graph_is_walked_twice(blocks: int) -> None:
    hidden, weight, targets = inputs(30, [5])
    for _ in range(2):
        linear_cross_entropy(hidden, weight, targets, IGNORED).backward()
    torch.testing.assert_close(
        weight.grad.double(), 2 * plain(hidden, weight, targets)[2], atol=4e-6, rtol=1e-5  # type: ignore[union-attr]
    )  # fmt: skip
    loss = linear_cross_entropy(hidden, weight, targets, IGNORED)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_it_keeps_a_few_blocks_of_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,048 rows of 4,096 words are 33.6 MB of logits; blocks of 32 are half a MB each."""
    torch.manual_seed(0)
    hidden = torch.randn(2048, 8, requires_grad=True)
    weight = torch.randn(4096, 8, requires_grad=True)
    targets = torch.randint(4096, (2048,))
    assert hidden.shape[0] * weight.shape[0] > module._WORTH
    monkeypatch.setitem(module._BLOCK, "cpu", 1 << 17)
    with LiveMemory([hidden, weight]) as live, torch.no_grad():
        linear_cross_entropy(hidden, weight, targets, IGNORED)
    # Logits and their logarithms. No gradient is made, neither of logits nor of weights.
    assert live.peak == pytest.approx(2 * (1 << 19), rel=0.02)
    with LiveMemory([hidden, weight]) as live:
        linear_cross_entropy(hidden, weight, targets, IGNORED).backward()
    # Four blocks of gradients beside them, and the gradients of weights and rows.
    assert live.peak == pytest.approx(6 * (1 << 19) + 4 * 8 * (4096 + 2048), rel=0.01)
