"""Names of HF Kosmos2's tensors and ours. Test-side only: import and export are a later room of the project."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor
from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig

_RULES = (
    (r"^text_model\.model\.embed_tokens\.", "decoder.embedding."),
    (r"^text_model\.model\.layers\.(\d+)\.self_attn_layer_norm\.", r"decoder.layers.\1.attention_pre_norm."),
    (r"^text_model\.model\.layers\.(\d+)\.self_attn\.", r"decoder.layers.\1.attention."),
    (r"^text_model\.model\.layers\.(\d+)\.final_layer_norm\.", r"decoder.layers.\1.ffn_pre_norm."),
    (r"^text_model\.model\.", "decoder."),
    (r"^vision_model\.model\.pre_layrnorm\.", "encoders.image.vision.pre_layernorm."),
    (r"^vision_model\.model\.encoder\.", "encoders.image.vision."),
    (r"^vision_model\.model\.", "encoders.image.vision."),
    (r"^image_to_text_projection\.latent_query$", "encoders.image.resampler.latents"),
    (r"^image_to_text_projection\.x_attn\.", "encoders.image.resampler.attention."),
    (r"^image_to_text_projection\.", "encoders.image.resampler."),
)


def native_name(name: str) -> str | None:
    """Our name of a HF Kosmos2 parameter; None for the tied head."""
    if name == "text_model.lm_head.weight":
        return None
    for pattern, replacement in _RULES:
        renamed, hits = re.subn(pattern, replacement, name)
        if hits:
            return renamed
    raise KeyError(name)


def native_weights(model: Kosmos2ForConditionalGeneration) -> dict[str, Tensor]:
    """The whole state dict of a HF model under our names."""
    named = ((native_name(name), tensor) for name, tensor in model.state_dict().items())
    return {name: tensor for name, tensor in named if name is not None}


def native_config(config: Kosmos2Config) -> ModelConfig:
    """Our configuration of a HF one; the whole tower trainable, so that all gradients can be compared."""
    text: Any = config.text_config
    vision: Any = config.vision_config
    return ModelConfig(
        decoder=DecoderConfig(
            num_layers=text.layers,
            hidden_size=text.embed_dim,
            ffn_size=text.ffn_dim,
            num_heads=text.attention_heads,
            vocab_size=text.vocab_size,
            max_positions=text.max_position_embeddings,
            dropout=text.dropout,
            attention_dropout=text.attention_dropout,
            position="sinusoidal",
        ),
        vision=VisionConfig(
            trainable="all",
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            hidden_size=vision.hidden_size,
            num_layers=vision.num_hidden_layers,
            num_heads=vision.num_attention_heads,
            ffn_size=vision.intermediate_size,
        ),
        resampler=ResamplerConfig(
            num_latents=config.latent_query_num,
            num_heads=text.attention_heads,
            attention_dropout=text.attention_dropout,
        ),
    )
