"""A tiny random model and the same one as transformers' KosmosForConditionalGeneration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kosmos.batch import Batch, collate
from kosmos.config import ModelConfig, VisionConfig, replace
from kosmos.document import Document, Image
from kosmos.interop.remote_code.modeling_kosmos import KosmosForConditionalGeneration
from kosmos.interop.transformers.config import to_transformers_config
from kosmos.interop.transformers.exporting import generation_config
from kosmos.interop.transformers.names import to_transformers_names
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.inference.tiny import tiny_config
from tests.model.tiny import shake

CLIP = VisionConfig(kind="clip", image_size=16, patch_size=8, hidden_size=24, num_layers=2, num_heads=4, ffn_size=48)

# What changes in tests.inference.tiny's model: every kind of position, tower, norm and resampler at least once.
VARIANTS: dict[str, dict[str, Any]] = {
    "xpos-conv": {},
    "sinusoidal-conv": {"decoder.position": "sinusoidal"},
    "xpos-clip": {"vision": CLIP},
    "sinusoidal-clip-gelu": {"decoder.position": "sinusoidal", "vision": replace(CLIP, activation="gelu")},
    "batch-norm-perceiver": {"vision.norm": "batch", "resampler.kind": "perceiver", "resampler.num_layers": 2},
    "clip-perceiver-paper": {"vision": CLIP, "resampler.kind": "perceiver", "decoder.init": "paper"},
    "no-sub-ln-deep-stem": {"decoder.sub_ln": False, "vision.stem_stride": 4, "vision.blocks": 2},
    "text-only": {"vision": None},
}


@dataclass(frozen=True)
class Twins:
    """`ours` and `theirs`, a KosmosForConditionalGeneration, hold the same weights, both in evaluation mode."""

    ours: Kosmos
    theirs: Any
    processor: Processor

    def encode(self, documents: Sequence[Document], pad_left: bool = False) -> tuple[Batch, dict[str, Any]]:
        """Our batch of prompts, and the same as arguments of a transformers model."""
        rows = [self.processor.encode(document, end=False) for document in documents]
        batch = collate(rows, pad_id=1, pad_left=pad_left)
        width = batch.token_ids.shape[1]
        mask = torch.zeros_like(batch.token_ids)
        for row, kept in zip(mask, rows, strict=True):
            row[slice(width - len(kept), width) if pad_left else slice(len(kept))] = 1
        return batch, {"input_ids": batch.token_ids, "attention_mask": mask, "pixel_values": self.pixels(batch)}

    def pixels(self, batch: Batch) -> Tensor | None:
        if "image" not in batch.inputs:
            return None
        encoder: Any = self.ours.encoders["image"]
        pixels: Tensor = encoder.normalize(batch.inputs["image"].features)
        return pixels


def tiny_variant(tokenizer: Tokenizer, name: str) -> ModelConfig:
    # One after the other: a change within `vision` needs the one of `vision` itself before it.
    config = tiny_config(tokenizer.vocab_size)
    for key, value in VARIANTS[name].items():
        config = replace(config, **{key: value})
    return config


def transformers_twin(ours: Kosmos, tokenizer: Tokenizer) -> KosmosForConditionalGeneration:
    """The transformers model with the weights of `ours`, its generation settings those of an exported folder."""
    theirs = KosmosForConditionalGeneration(to_transformers_config(ours.config, tokenizer)).eval()
    tensors = to_transformers_names(dict(ours.state_dict()))
    theirs.load_state_dict({**tensors, "lm_head.weight": tensors["model.language_model.embed_tokens.weight"]})
    for key, value in generation_config(ours.config.decoder.vocab_size, tokenizer).items():
        setattr(theirs.generation_config, key, value)
    return theirs


def make_twins(tokenizer: Tokenizer, name: str) -> Twins:
    """Twins without dropout whose every parameter and statistic is random."""
    torch.manual_seed(5)
    config = replace(
        tiny_variant(tokenizer, name),
        **{"decoder.dropout": 0.0, "decoder.attention_dropout": 0.0, "resampler.attention_dropout": 0.0},
    )
    ours = Kosmos(config, random_vision=True).eval()
    shake(ours)
    for key, buffer in ours.named_buffers():
        if key.endswith("running_mean"):
            buffer.uniform_(-0.3, 0.3)
        elif key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return Twins(ours, transformers_twin(ours, tokenizer), Processor(tokenizer, config))


def picture(seed: int) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8))
