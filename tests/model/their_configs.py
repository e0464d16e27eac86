"""Small configurations of transformers' own models, for the tests that compare with them."""

from __future__ import annotations

from typing import Any

from transformers import CLIPVisionConfig, Kosmos2Config


def small_kosmos2_config(vocab_size: int, num_latents: int = 4, **changes: Any) -> Kosmos2Config:
    """2 + 2 layers on 28 pixels, no dropout; `text` and `vision` change fields of those two, the rest are its own."""
    text: dict[str, Any] = {
        "vocab_size": vocab_size,
        "max_position_embeddings": 128,
        "embed_dim": 32,
        "layers": 2,
        "ffn_dim": 64,
        "attention_heads": 4,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    vision: dict[str, Any] = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 14,
    }
    return Kosmos2Config(
        text_config=text | changes.pop("text", {}),
        vision_config=vision | changes.pop("vision", {}),
        latent_query_num=num_latents,
        **changes,
    )


def small_clip_config(activation: str = "quick_gelu") -> CLIPVisionConfig:
    """A tower of 3 layers on 28 pixels."""
    return CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
        hidden_act=activation,
    )
