"""Names of tensors: transformers' Kosmos2 and ours, both ways."""

from __future__ import annotations

import re

from kosmos.errors import DataError

# What stands before the last words of a name, theirs and ours; `#` is the number of a layer.
PREFIXES = (
    ("text_model.model.embed_tokens.", "decoder.embedding."),
    ("text_model.model.layers.#.self_attn_layer_norm.", "decoder.layers.#.attention_pre_norm."),
    ("text_model.model.layers.#.self_attn.", "decoder.layers.#.attention."),
    ("text_model.model.layers.#.final_layer_norm.", "decoder.layers.#.ffn_pre_norm."),
    ("text_model.model.layers.#.ffn.", "decoder.layers.#.ffn."),
    ("text_model.model.layer_norm.", "decoder.layer_norm."),
    ("vision_model.model.embeddings.", "encoders.image.vision.embeddings."),
    ("vision_model.model.pre_layrnorm.", "encoders.image.vision.pre_layernorm."),
    ("vision_model.model.encoder.layers.#.", "encoders.image.vision.layers.#."),
    ("vision_model.model.post_layernorm.", "encoders.image.vision.post_layernorm."),
    ("image_to_text_projection.dense.", "encoders.image.resampler.dense."),
    ("image_to_text_projection.x_attn.", "encoders.image.resampler.attention."),
    ("image_to_text_projection.latent_query", "encoders.image.resampler.latents"),
)
TIED_HEAD = "text_model.lm_head.weight"
EMBEDDING = "text_model.model.embed_tokens.weight"
# Computed when a model is made; older versions of transformers stored them. The last two were never read.
BUFFERS = (
    "text_model.model.embed_positions.weights",
    "vision_model.model.embeddings.position_ids",
    "text_model.model.embed_positions._float_tensor",
    "text_model.model.self_attn_sope.scale",
)

_NATIVE = tuple((re.compile(re.escape(theirs).replace(r"\#", r"(\d+)")), ours) for theirs, ours in PREFIXES)
_THEIRS = tuple((re.compile(re.escape(ours).replace(r"\#", r"(\d+)")), theirs) for theirs, ours in PREFIXES)


def native_name(name: str) -> str | None:
    """Our name of a tensor of Kosmos2; None for what we do not store (the tied head, buffers). Raises DataError."""
    if name == TIED_HEAD or name in BUFFERS:
        return None
    return _renamed(name, _NATIVE)


def kosmos2_name(name: str) -> str:
    """Kosmos2's name of a tensor of ours. Raises DataError when it has no such part."""
    return _renamed(name, _THEIRS)


def _renamed(name: str, rules: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, replacement in rules:
        if match := pattern.match(name):
            number = match[1] if match.lastindex else ""
            return replacement.replace("#", number) + name[match.end() :]
    raise DataError(f"{name}: a tensor that the other side has no name for")
