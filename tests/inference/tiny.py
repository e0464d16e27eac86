"""A tiny random model with a tokenizer of its own, in the forms the Engine must be exact for."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer

WORDS = tuple(
    re.findall(r"\S+", "an image of the red cat and two dogs, a green house; Question: what is it? Answer: Yes No one.")
)


def tiny_tokenizer(folder: Path) -> Tokenizer:
    texts = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))] + ["été naïve 猫 🐱 e\u0301"]
    path = folder / "tiny.model"
    return Tokenizer.train(texts, path, vocab_size=400, character_coverage=1.0, hard_vocab_limit=False)


def tiny_config(vocab_size: int, position: str = "xpos", max_positions: int = 128) -> ModelConfig:
    return ModelConfig(
        decoder=DecoderConfig(
            num_layers=2,
            hidden_size=32,
            ffn_size=64,
            num_heads=4,
            vocab_size=vocab_size,
            max_positions=max_positions,
            position=position,  # type: ignore[arg-type]
        ),
        vision=VisionConfig(kind="conv", image_size=16, hidden_size=16, channels=(8, 16)),
        resampler=ResamplerConfig(num_latents=3, num_heads=4),
    )


def tiny_model(tokenizer: Tokenizer, position: str = "xpos", max_positions: int = 128, seed: int = 0) -> Kosmos:
    torch.manual_seed(seed)
    model = Kosmos(tiny_config(tokenizer.vocab_size, position, max_positions), random_vision=True).eval()
    with torch.no_grad():
        # A random tied model repeats its last token; with signs flipped before the head it wanders, and ends at times.
        width = model.config.decoder.hidden_size
        model.decoder.layer_norm.weight.copy_(torch.randint(0, 2, (width,)) * 2.0 - 1.0)
        model.decoder.embedding.weight[tokenizer.eos_id] *= 1.5
        # Pictures must matter: features are of length 1, and random latents would drown them.
        model.encoders.get_submodule("image.resampler.dense").get_parameter("weight").mul_(50.0)
    return model


def save_tiny(folder: Path) -> Path:
    """An exported model folder inside `folder`."""
    model = tiny_model(tiny_tokenizer(folder))
    model.save_pretrained(folder / "model", Processor(tiny_tokenizer(folder), model.config))
    return folder / "model"
