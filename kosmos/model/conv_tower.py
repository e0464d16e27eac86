"""A small convolutional vision tower, for models that learn to see within minutes."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kosmos.config import VisionConfig
from kosmos.errors import ConfigError
from kosmos.model.tower import VisionTower


def _norm(kind: str, channels: int) -> nn.Module:
    # `group` never looks at neighbours in the batch; `batch` learns faster, and only vision pretraining lets it look.
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(max(1, channels // 16), channels)


class ConvBlock(nn.Module):
    """Residual 3x3 convolution: x + relu(norm(conv(x)))."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = _norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        result: Tensor = x + F.relu(self.norm(self.conv(x)))
        return result


class Shrink(nn.Module):
    """A convolution that divides the sides of the picture by `stride` and changes the width."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        kernel, padding = (3, 1) if stride == 2 else (stride, 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
        self.norm = _norm(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        return F.relu(self.norm(self.conv(x)))


class ConvTower(VisionTower):
    """Stages that shrink the picture and look at it (`features`), then `last_layer` and a LayerNorm over channels.

    The first stage divides the sides by `stem_stride`, each further one by 2: 48 pixels, stem_stride 4 and two stages
    give 6 x 6 positions. With `trainable: last_layer`, `features` runs without gradients.
    """

    def __init__(self, config: VisionConfig) -> None:
        shrink = config.stem_stride * 2 ** (len(config.channels) - 1)
        if not config.channels or config.image_size % shrink:
            raise ConfigError(
                f"vision: a conv tower needs `channels`, and image_size {config.image_size} must be a multiple of "
                f"{shrink}, as stem_stride and the further stages shrink the picture by that much"
            )
        if config.hidden_size != config.channels[-1]:
            raise ConfigError(
                f"vision.hidden_size is {config.hidden_size}, but the last of vision.channels is {config.channels[-1]}"
                "; make them equal"
            )
        super().__init__(config, (config.image_size // shrink) ** 2)
        layers: list[nn.Module] = []
        width = 3
        for stage, channels in enumerate(config.channels):
            layers.append(Shrink(width, channels, config.stem_stride if stage == 0 else 2, config.norm))
            layers += [ConvBlock(channels, config.norm) for _ in range(config.blocks)]
            width = channels
        self.features = nn.Sequential(*layers)
        self.last_layer = ConvBlock(width, config.norm)
        self.post_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.materialize()
        self.freeze()

    def last_layer_modules(self) -> list[nn.Module]:
        return [self.last_layer, self.post_layernorm]

    def train(self, mode: bool = True) -> Self:
        # Batch statistics are fixed once pretrained: a picture's features must not depend on its neighbours.
        return super().train(False)

    def train_statistics(self) -> None:
        """Let batch normalisation learn its statistics: for vision pretraining only."""
        nn.Module.train(self, True)

    def materialize(self) -> None:
        # Tensors read from a file are not laid out as convolutions like them.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, S, S] -> features [N, P, C], each position L2-normalised."""
        pixels = pixels.to(self.post_layernorm.weight.dtype, memory_format=torch.channels_last)
        with self.gradients_below_last_layer():
            hidden = self.features(pixels)
        hidden = self.last_layer(hidden).flatten(2).transpose(1, 2)
        return F.normalize(self.post_layernorm(hidden), dim=-1)
