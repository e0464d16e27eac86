"""A small convolutional vision tower, for models that learn to see within minutes."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kosmos.config import VisionConfig
from kosmos.errors import ConfigError


def _norm(channels: int) -> nn.GroupNorm:
    # GroupNorm, not BatchNorm: a picture's features must not depend on its neighbours in the batch.
    return nn.GroupNorm(max(1, channels // 16), channels)


class ConvBlock(nn.Module):
    """Residual block of two 3x3 convolutions; `stride` 2 halves the picture."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = _norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = _norm(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        inner = F.relu(self.norm1(self.conv1(x)))
        inner = self.norm2(self.conv2(inner))
        if inner.shape[-1] != x.shape[-1]:
            x = F.avg_pool2d(x, 2)
        if self.shortcut is not None:
            x = self.shortcut(x)
        return F.relu(x + inner)


class ConvTower(nn.Module):
    """Stages that each halve the picture (`features`), then `last_layer` and a LayerNorm over channels.

    `channels` gives each stage's width; the last layer brings the width to `hidden_size`. 48 pixels and three stages
    give 6 x 6 positions. With `trainable: last_layer`, `features` runs without gradients.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        shrink = 2 ** len(config.channels)
        if not config.channels or config.image_size % shrink:
            raise ConfigError(
                f"vision: a conv tower needs `channels`, and image_size {config.image_size} must be a multiple of "
                f"2^{len(config.channels)} = {shrink}, as each stage halves the picture"
            )
        self.trainable = config.trainable
        self.hidden_size = config.hidden_size
        self.num_positions = (config.image_size // shrink) ** 2
        widths = (3, *config.channels)
        self.features = nn.Sequential(*(ConvBlock(inputs, outputs, 2) for inputs, outputs in pairwise(widths)))
        self.last_layer = ConvBlock(config.channels[-1], config.hidden_size, 1)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.materialize()

    def trainable_when_frozen(self) -> list[nn.Module]:
        """What `trainable: last_layer` leaves trainable."""
        return [self.last_layer, self.post_layernorm]

    def train(self, mode: bool = True) -> ConvTower:
        super().train(mode and self.trainable == "all")
        return self

    def materialize(self) -> None:
        """Lay the weights out as the convolutions like them; tensors read from a file are not."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, S, S] -> features [N, P, C], P = (S / 2^stages)^2."""
        pixels = pixels.to(self.post_layernorm.weight.dtype, memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.trainable == "all"):
            hidden = self.features(pixels)
        hidden = self.last_layer(hidden).flatten(2).transpose(1, 2)
        return F.normalize(self.post_layernorm(hidden), dim=-1)
