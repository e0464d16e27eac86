"""Pictures with captions held in memory, and their augmentation in whole batches: what vision pretraining reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PictureCorpus:
    """images uint8 [n, S, S, 4] (RGBA, straight alpha), captions [n].

    `strength` scales how far pictures are moved, turned and recoloured, `flip` marks those that may be mirrored [n].
    """

    images: np.ndarray
    captions: tuple[str, ...]
    strength: float
    flip: np.ndarray


class BatchAugmenter:
    """Draws moved, turned, scaled and recoloured pictures on plain grounds, a batch at a time."""

    def __init__(self, corpus: PictureCorpus, size: int) -> None:
        self._size = size
        self._strength = corpus.strength
        self._flip = torch.from_numpy(corpus.flip)
        # Kept as bytes: tens of thousands of pictures as floats would take a gigabyte.
        self._images = torch.from_numpy(corpus.images)
        self._opaque = bool((corpus.images[..., 3] == 255).all())

    def draw(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Pictures [n] by index -> pixels in 0..1, float [n, 3, size, size]."""
        count, strength = len(indices), self._strength
        if not count:  # a small share of a small batch
            return torch.empty(0, 3, self._size, self._size)

        def uniform(low: float, high: float) -> Tensor:
            return torch.rand(count, generator=generator) * (high - low) + low

        turn, scale = uniform(-0.3, 0.3) * strength, 1.0 + uniform(-0.1, 0.34) * strength
        stretch, shear = 1.0 + uniform(-0.12, 0.12) * strength, uniform(-0.15, 0.15) * strength
        mirror = torch.where((uniform(0.0, 1.0) < 0.5) & self._flip[indices], -1.0, 1.0)
        cosine, sine = turn.cos(), turn.sin()
        shift_x, shift_y = uniform(-0.12, 0.12) * strength, uniform(-0.12, 0.12) * strength
        transform = torch.stack(
            (
                torch.stack((cosine * scale * stretch * mirror, shear - sine * scale, shift_x), 1),
                torch.stack((sine * scale * mirror, cosine * scale / stretch, shift_y), 1),
            ),
            dim=1,
        )
        grid = F.affine_grid(transform, [count, 4, self._size, self._size], align_corners=False)
        # An opaque picture goes on past its edge; a cut-out one is surrounded by nothing.
        padding = "border" if self._opaque else "zeros"
        drawn = F.grid_sample(
            self._premultiplied(indices), grid, mode="bilinear", padding_mode=padding, align_corners=False
        )
        colors, alpha = drawn[:, :3], drawn[:, 3:]
        gray = colors.mean(dim=1, keepdim=True)
        saturation = (1.0 + uniform(-0.5, 0.5) * strength).view(-1, 1, 1, 1)
        gain = 1.0 + (torch.rand(count, 3, 1, 1, generator=generator) - 0.5) * 0.5 * strength
        gain = gain * (1.0 + uniform(-0.2, 0.2) * strength).view(-1, 1, 1, 1)
        tone = torch.rand(count, 3, 1, 1, generator=generator) * 0.5 + 0.5
        ground = torch.where(uniform(0.0, 1.0).view(-1, 1, 1, 1) < 0.5, torch.ones_like(tone), tone)
        return ((gray + (colors - gray) * saturation) * gain + (1.0 - alpha) * ground).clamp(0.0, 1.0)

    def _premultiplied(self, indices: Tensor) -> Tensor:
        """Float [n, 4, S, S]; colours times alpha, so that scaling does not bleed what is transparent."""
        pixels = self._images[indices].permute(0, 3, 1, 2).float() / 255.0
        alpha = pixels[:, 3:]
        return torch.cat((pixels[:, :3] * alpha, alpha), dim=1)
