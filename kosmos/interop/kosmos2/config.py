"""Configurations: transformers' Kosmos2 and ours, both ways, and every reason why one cannot be expressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Kosmos2Config

from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig
from kosmos.errors import ConfigError, DataError
from kosmos.interop.stored_json import read_json
from kosmos.tokenizer import Tokenizer

# transformers' names of what both sides have under another one.
_TEXT = {
    "num_layers": "layers",
    "hidden_size": "embed_dim",
    "ffn_size": "ffn_dim",
    "num_heads": "attention_heads",
    "vocab_size": "vocab_size",
    "max_positions": "max_position_embeddings",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "layer_norm_eps": "layer_norm_eps",
}
_VISION = {
    "image_size": "image_size",
    "patch_size": "patch_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "ffn_size": "intermediate_size",
    "activation": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
}
_ACTIVATIONS = ("quick_gelu", "gelu")
# What this project has no key for, and the one value that its code stands for.
_FIXED_TEXT = {
    "activation_function": "gelu",
    "scale_embedding": True,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "bos_token_id": Tokenizer.bos_id,
    "pad_token_id": Tokenizer.pad_id,
    "eos_token_id": Tokenizer.eos_id,
}


def read_kosmos2_config(folder: Path) -> Kosmos2Config:
    """The configuration of a folder in transformers' form. Raises DataError."""
    try:
        return Kosmos2Config.from_pretrained(folder)
    except Exception as error:  # transformers and its strict dataclasses raise many types
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{folder / 'config.json'}: not a configuration of Kosmos-2: {lines[0]}") from error


def native_config(
    theirs: Kosmos2Config,
    *,
    where: str = "config.json",
    trainable: Any = "last_layer",
    **normalization: Any,
) -> ModelConfig:
    """Our configuration of a Kosmos2; `normalization`: `image_mean` and `image_std`.

    Raises ConfigError that lists everything we cannot express.
    """
    text: Any = theirs.text_config
    vision: Any = theirs.vision_config
    reasons = [
        f"text_config.{name} is {getattr(text, name)!r}; this project has only {value!r}"
        for name, value in _FIXED_TEXT.items()
        if getattr(text, name) != value
    ]
    if not theirs.tie_word_embeddings:
        reasons.append("tie_word_embeddings is false; here the output matrix is the embedding matrix")
    if vision.hidden_act not in _ACTIVATIONS:
        reasons.append(f"vision_config.hidden_act is '{vision.hidden_act}'; known are {', '.join(_ACTIVATIONS)}")
    if vision.num_channels != 3:
        reasons.append(f"vision_config.num_channels is {vision.num_channels}; pictures here have 3")
    for name in ("image_size", "patch_size"):
        if not isinstance(getattr(vision, name), int):
            reasons.append(f"vision_config.{name} is {getattr(vision, name)}; pictures and patches here are square")
    if reasons:
        raise ConfigError(f"{where}: cannot be imported: {'; '.join(reasons)}")
    return ModelConfig(
        decoder=DecoderConfig(
            position="sinusoidal",
            sub_ln=True,
            **{ours: getattr(text, name) for ours, name in _TEXT.items()},
        ),
        vision=VisionConfig(
            kind="clip",
            trainable=trainable,
            **{ours: getattr(vision, name) for ours, name in _VISION.items()},
            **normalization,
        ),
        resampler=ResamplerConfig(
            kind="cross_attention",
            num_latents=theirs.latent_query_num,
            num_heads=text.attention_heads,
            attention_dropout=text.attention_dropout,
        ),
    )


def notes_on_kosmos2(theirs: Kosmos2Config, folder: Path) -> list[str]:
    """What of a Kosmos-2 folder is left behind without a change of its logits, in words."""
    text: Any = theirs.text_config
    vision: Any = theirs.vision_config
    notes = []
    if text.layerdrop:
        notes.append(f"layerdrop {text.layerdrop:g} acts in training only and is left out")
    if vision.attention_dropout:
        notes.append(
            f"the tower's attention_dropout {vision.attention_dropout:g} acts in training only and is left out"
        )
    file = folder / "generation_config.json"
    size = read_json(file).get("no_repeat_ngram_size") if file.is_file() else None
    if size:
        notes.append(
            f"generation_config.json has no_repeat_ngram_size {size}: generate of transformers repeats no {size} words "
            "in a row, decoding here has no such rule"
        )
    return notes


def reasons_against_kosmos2(config: ModelConfig) -> list[str]:
    """Everything in our configuration that transformers' Kosmos2 has no form for; empty when it can be exported."""
    decoder, vision, resampler = config.decoder, config.vision, config.resampler
    reasons = []
    if decoder.position != "sinusoidal":
        reasons.append(
            f"decoder.position is {decoder.position}, Kosmos-2 adds sinusoidal positions and rotates nothing"
        )
    if not decoder.sub_ln:
        reasons.append("decoder.sub_ln is false, Kosmos-2 has a LayerNorm inside attention and feed-forward")
    if vision is None:
        reasons.append("vision is null, Kosmos-2 always has a vision tower")
    elif vision.kind != "clip":
        reasons.append(f"vision.kind is {vision.kind}, Kosmos-2's tower is CLIP's")
    if resampler.kind != "cross_attention":
        reasons.append(f"resampler.kind is {resampler.kind}, Kosmos-2 has one cross-attention")
    if vision is not None and resampler.num_heads != decoder.num_heads:
        reasons.append(
            f"resampler.num_heads is {resampler.num_heads}, Kosmos-2 takes the decoder's {decoder.num_heads} for both"
        )
    if config.extra_modalities:
        reasons.append(f"extra_modalities {', '.join(config.extra_modalities)}: Kosmos-2 reads text and pictures only")
    return reasons


def kosmos2_config(config: ModelConfig) -> Kosmos2Config:
    """transformers' configuration of one of ours. Raises ConfigError with every reason against it."""
    if reasons := reasons_against_kosmos2(config):
        raise ConfigError(f"cannot be expressed as Kosmos-2: {'; '.join(reasons)}")
    theirs: Kosmos2Config = Kosmos2Config(
        text_config={name: getattr(config.decoder, ours) for ours, name in _TEXT.items()},
        vision_config={name: getattr(config.vision, ours) for ours, name in _VISION.items()},
        latent_query_num=config.resampler.num_latents,
        architectures=["Kosmos2ForConditionalGeneration"],
        dtype="float32",
    )
    return theirs
