"""Which parameters Muon moves and which AdamW, and at what rates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kosmos.config import VisionPretrainingConfig
from kosmos.data.picture_corpus import PictureCorpus
from kosmos.model.conv_tower import ConvTower
from kosmos.model.resampler import build_resampler
from kosmos.tokenizer import Tokenizer
from kosmos.training.contrast import CaptionBag, Contrast
from kosmos.training.pretraining_optimizer import PretrainingOptimizer
from tests.training.patterns import SIZE, VISION


@pytest.fixture
def contrast(pretraining: VisionPretrainingConfig, patterns: PictureCorpus) -> Contrast:
    torch.manual_seed(0)
    tower = ConvTower(replace(VISION, stem_stride=4, blocks=2))
    tower.train_statistics()
    captions = CaptionBag(patterns.captions, Tokenizer.load(pretraining.tokenizer), pretraining.embedding_size)
    return Contrast(tower, build_resampler(pretraining.resampler, 16, pretraining.hidden_size), captions, pretraining)


def test_the_optimizer_moves_every_parameter_itself(contrast: Contrast, pretraining: VisionPretrainingConfig) -> None:
    optimizer = PretrainingOptimizer(contrast, pretraining)
    filters = {name: p for name, p in contrast.named_parameters() if p.ndim == 4}
    assert len(filters) == 2 + 2 * 2 + 1
    for view, parameter in zip(optimizer._views, filters.values(), strict=True):
        # The matrix is the filter's own memory: moving one moves the other.
        assert view.data_ptr() == parameter.data_ptr() and view.numel() == parameter.numel()
    by_muon = {tuple(p.shape) for group in optimizer._muon.param_groups for p in group["params"]}
    assert {(8, 48), (8, 72), (16, 72), (16, 144), (32, 16), (32, 32)} == by_muon
    held = [p for o in optimizer._optimizers for group in o.param_groups for p in group["params"]]
    assert len(held) == len({id(p) for p in held}) == len(list(contrast.parameters()))
    before = {name: p.detach().clone() for name, p in contrast.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for step in (1, 2):
        pixels = torch.randn(16, 3, SIZE, SIZE, generator=generator)
        losses = contrast(pixels, torch.arange(8), torch.arange(16) % 8)
        (losses[0] + losses[1]).backward()
        optimizer.step(step)
    still = [name for name, p in contrast.named_parameters() if torch.equal(p, before[name])]
    assert still == []
    assert all(p.grad is None for p in contrast.parameters())
    for view, parameter in zip(optimizer._views, filters.values(), strict=True):
        assert torch.equal(view, parameter.permute(0, 2, 3, 1).flatten(1))


def test_the_rates(contrast: Contrast, pretraining: VisionPretrainingConfig) -> None:
    optimizer = PretrainingOptimizer(contrast, replace(pretraining, steps=10, warmup_steps=4, matrix_lr=1.0, lr=0.1))
    for step, share in ((1, 0.25), (2, 0.5 * 0.9), (4, 0.7), (10, 0.1)):
        two = torch.tensor([0, 1])
        sum(contrast(torch.ones(2, 3, SIZE, SIZE), two, two)[:2]).backward()
        optimizer.step(step)
        rates = [group["lr"] for o in optimizer._optimizers for group in o.param_groups]
        # Matrices; all else; what is no matrix in the resampler.
        assert rates == pytest.approx([share, 0.1 * share, 0.01 * share])
