"""The output head and its loss in one, a block of rows at a time.

The logits of a step are its largest tensor: 2,048 tokens times 64,007 words are 0.5 GB in fp32, and plain autograd
keeps three of that size. Here a block's logits become its loss and its gradients at once, in memory that stays in the
cache.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits of a block. On a CPU a block should stay in the cache; on a GPU it must be large enough to fill the card.
_BLOCK = {"cpu": 1 << 21, "cuda": 1 << 27}
# Blocks whose gradients meet the weights together: each time the whole [V, D] gradient is read and written.
_JOINED = 4
# Below that many logits in all, autograd's own way is as fast.
_WORTH = 1 << 22


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, ignored: int) -> Tensor:
    """Sum of negative log-likelihoods, fp32 scalar, of targets int64 [N]; logits are hidden [N, D] times weight [V, D].

    Targets equal to `ignored` count nothing. The logits are made in the autocast type and summed up in fp32.
    """
    if hidden.shape[0] * weight.shape[0] <= _WORTH:
        return F.cross_entropy(F.linear(hidden, weight).float(), targets, reduction="sum", ignore_index=ignored)
    rows = max(1, _BLOCK.get(hidden.device.type, _BLOCK["cuda"]) // weight.shape[0])
    # Inside of a Function gradients are off always, and what it is told of its inputs does not change under no_grad.
    learns = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, ignored, rows, learns)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, while a block's logits are at hand; the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, ignored: int, rows: int, learns: bool
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        with torch.autocast(kind, enabled=False):
            matrix, inputs = weight.to(dtype), hidden.to(dtype)  # [V, D], [N, D]
            held = torch.empty(2, min(rows, len(inputs)), len(matrix), dtype=torch.float32, device=hidden.device)
            if not learns:
                for first in range(0, len(inputs), rows):
                    span = slice(first, first + rows)
                    total += _loss(_log_probs(inputs[span], matrix, held), targets[span], ignored)
                return total
            grad_hidden = torch.empty_like(hidden)
            grad_weight: Tensor | None = None
            gradients = inputs.new_empty(min(len(inputs), _JOINED * rows), len(matrix))  # of the logits
            for first in range(0, len(inputs), len(gradients)):
                part = inputs[first : first + len(gradients)]
                for begin in range(0, len(part), rows):
                    block, wanted = part[begin : begin + rows], targets[first + begin : first + begin + rows]
                    log_probs = _log_probs(block, matrix, held)
                    total += _loss(log_probs, wanted, ignored)
                    _gradient(log_probs, wanted, ignored, out=gradients[begin : begin + len(block)])
                of_part = gradients[: len(part)]
                grad_hidden[first : first + len(part)] = of_part @ matrix
                if grad_weight is None:
                    grad_weight = (of_part.T @ part).float()
                elif dtype == torch.float32:
                    grad_weight.addmm_(of_part.T, part)
                else:
                    grad_weight += of_part.T @ part
        assert grad_weight is not None  # there is at least one row, or autograd's own way was taken
        ctx.save_for_backward(grad_hidden, grad_weight.to(weight.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        (scale,) = gradients
        grad_hidden, grad_weight = ctx.saved_tensors
        # In place: these are nobody else's, and large. A second backward pass of the same graph is an error of torch's.
        return grad_hidden.mul_(scale), grad_weight.mul_(scale), None, None, None, None


def _log_probs(block: Tensor, matrix: Tensor, held: Tensor) -> Tensor:
    """fp32 [rows, V], in `held` [2, rows, V]: memory that is kept, since a CPU maps what is allocated anew."""
    logits, log_probs = held[:, : len(block)]
    if block.dtype == torch.float32:
        torch.mm(block, matrix.T, out=logits)
    else:
        logits.copy_(block @ matrix.T)
    return torch.log_softmax(logits, -1, out=log_probs)


def _loss(log_probs: Tensor, targets: Tensor, ignored: int) -> Tensor:
    return F.nll_loss(log_probs, targets, reduction="sum", ignore_index=ignored)


def _gradient(log_probs: Tensor, targets: Tensor, ignored: int, out: Tensor) -> None:
    """Softmax - one-hot, the gradient of the loss by the logits; `log_probs` is used up."""
    gradient = torch.exp(log_probs, out=out if out.dtype == log_probs.dtype else log_probs)
    counted = targets != ignored
    place = targets.where(counted, 0)[:, None]
    gradient.scatter_add_(1, place, gradient.new_full((1, 1), -1.0).expand_as(place))
    gradient[~counted] = 0.0
    if gradient is not out:
        out.copy_(gradient)
