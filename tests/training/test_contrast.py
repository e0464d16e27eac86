"""The loss of vision pretraining by hand, and its text side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kosmos.config import ResamplerConfig, VisionPretrainingConfig
from kosmos.tokenizer import Tokenizer
from kosmos.training.contrast import CaptionBag, Contrast


class Unchanged(nn.Module):
    """A tower whose features are its input [N, P, C]."""

    hidden_size = 2

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels


def test_the_share_by_hand(corpus: Path) -> None:
    torch.manual_seed(0)
    config = VisionPretrainingConfig(
        resampler=ResamplerConfig(num_latents=1), hidden_size=2, embedding_size=4, label_smoothing=0.0
    )
    captions = CaptionBag(["red cat", "tree", "blue dog"], Tokenizer.load(corpus / "tokenizer.model"), 4)
    chosen = torch.tensor([0, 2])
    tower: Any = Unchanged()
    model = Contrast(tower, nn.Identity(), captions, config)
    # The mean is (3, 0), so of the power 9 + 1 nine parts are the same in both.
    latents = torch.tensor([[[3.0, 1.0]], [[3.0, -1.0]]], requires_grad=True)
    by_mean, by_latents, constant = model.logits(latents, chosen)
    assert constant.item() == pytest.approx(0.9)
    assert by_mean.shape == by_latents.shape == (2, 2)
    # Cosines times the scale that starts at 12.
    assert by_latents.abs().max() <= 12.0001
    targets = torch.tensor([1, 0])
    loss_by_mean, loss_by_latents, right = model(latents, chosen, targets)
    assert loss_by_mean.item() == pytest.approx(nn.functional.cross_entropy(by_mean, targets).item())
    assert loss_by_latents.item() == pytest.approx(nn.functional.cross_entropy(by_latents, targets).item() + 0.9)
    assert int(right) == int((by_latents.argmax(1) == targets).sum())
    for values, share in (([[1.0, 2.0], [1.0, 2.0]], 1.0), ([[1.0, 2.0], [-1.0, -2.0]], 0.0)):
        assert model.logits(torch.tensor(values)[:, None], chosen)[2].item() == pytest.approx(share)


def test_captions_are_told_apart_by_letters_and_pieces(corpus: Path) -> None:
    tokenizer = Tokenizer.load(corpus / "tokenizer.model")
    torch.manual_seed(0)
    vectors = CaptionBag(["cat", "act", "Cat", "cat.", "a" * 12 + "b", "a" * 12 + "c"], tokenizer, 64)(torch.arange(6))
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(6))
    cosines = vectors @ vectors.T
    assert cosines[0, 1] < 0.9 and cosines[0, 3] < 0.999
    # Beyond the twelfth letter only the pieces differ.
    assert cosines[4, 5] < 0.9999
    with torch.no_grad():
        bag = CaptionBag(["cat", "Cat"], tokenizer, 64)
        bag.bag.weight[: tokenizer.vocab_size] = 0
        upper, lower = bag(torch.tensor([1, 0]))
        assert torch.equal(upper, lower)  # letters in lower case
        assert torch.equal(bag(torch.tensor([1, 0, 1]))[2], upper)
