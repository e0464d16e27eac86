"""Parameter counts by part, taken on the meta device: no memory, any size."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kosmos.config import ModelConfig
from kosmos.model.kosmos import Kosmos
from kosmos.model.weights import without_pretrained


@dataclass(frozen=True)
class ParameterCounts:
    """`text` is the decoder with its tied embeddings; `other` the encoders of further modalities."""

    text: int
    vision: int
    resampler: int
    other: int
    total: int
    trainable: int


def count_parameters(config: ModelConfig) -> ParameterCounts:
    """Count the parameters of the model `config` describes, without making or reading any weights."""
    with torch.device("meta"):
        model = Kosmos(without_pretrained(config), random_vision=True)
    counts = {"text": 0, "vision": 0, "resampler": 0, "other": 0}
    trainable = 0
    for name, parameter in model.named_parameters():
        counts[_part(name)] += parameter.numel()
        trainable += parameter.numel() * parameter.requires_grad
    return ParameterCounts(**counts, total=sum(counts.values()), trainable=trainable)


def _part(name: str) -> str:
    parts = {"decoder.": "text", "encoders.image.vision.": "vision", "encoders.image.resampler.": "resampler"}
    return next((part for prefix, part in parts.items() if name.startswith(prefix)), "other")
