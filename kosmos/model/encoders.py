"""Encoders: what turns a modality's features into embeddings for its slots.

A factory maps a ModelConfig to a module, which maps features [N, ...] to embeddings [N, L, D]. The data half of a
modality is registered under the same name in `kosmos.modality`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kosmos.batch import round_up
from kosmos.config import ModelConfig, VisionConfig
from kosmos.errors import UsageError, nearest
from kosmos.model.resampler import build_resampler
from kosmos.model.vision import build_vision

EncoderFactory = Callable[[ModelConfig], nn.Module]

_ENCODERS: dict[str, EncoderFactory] = {}


def register_encoder(name: str, factory: EncoderFactory) -> None:
    """Add the encoder of a modality; registering a name again replaces it."""
    _ENCODERS[name] = factory


def build_encoder(name: str, config: ModelConfig) -> nn.Module:
    """The encoder of modality `name`. Raises UsageError when nothing of that name is registered."""
    if name not in _ENCODERS:
        raise UsageError(
            f"no encoder for the modality '{name}' is registered{nearest(name, _ENCODERS)}; "
            "import the module that registers it first"
        )
    return _ENCODERS[name](config)


class ImageEncoder(nn.Module):
    """Pixels to embeddings: normalisation, vision tower, resampler."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.vision is None:
            raise UsageError("a model with vision: null has no image encoder")
        self.config: VisionConfig = config.vision
        # Kosmos has refused a random frozen tower before it comes here.
        self.vision = build_vision(config.vision, random_vision=True)
        self.resampler = build_resampler(config.resampler, config.vision.hidden_size, config.decoder.hidden_size)

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, S, S] -> fp32 of CLIP's mean and deviation; floats are taken as normalised already."""
        if pixels.dtype != torch.uint8:
            return pixels
        mean = torch.tensor(self.config.image_mean, device=pixels.device).view(3, 1, 1)
        deviation = torch.tensor(self.config.image_std, device=pixels.device).view(3, 1, 1)
        return (pixels.float() / 255 - mean) / deviation

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, 3, S, S] -> [N, L, D]."""
        size = self.config.image_size
        if pixels.shape[1:] != (3, size, size):
            raise UsageError(f"pixels of shape {tuple(pixels.shape)}; this model takes [N, 3, {size}, {size}]")
        count = len(pixels)
        if pixels.device.type == "cpu" and (padded := round_up(count)) > count:
            pixels = torch.cat((pixels, pixels.new_zeros(padded - count, *pixels.shape[1:])))
        embeddings: Tensor = self.resampler(self.vision(self.normalize(pixels)))
        # No view leaves a module that may be sharded: its hooks are lost with one.
        return embeddings if len(embeddings) == count else embeddings[:count].clone()


register_encoder("image", ImageEncoder)
