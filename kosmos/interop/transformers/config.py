"""Configurations: a ModelConfig as a KosmosConfig of transformers, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig
from kosmos.errors import ConfigError
from kosmos.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from kosmos.interop.remote_code.configuration_kosmos import KosmosConfig

# Our field, theirs.
_DECODER = {
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "ffn_size": "intermediate_size",
    "num_heads": "num_attention_heads",
    "vocab_size": "vocab_size",
    "max_positions": "max_position_embeddings",
    "dropout": "hidden_dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "sub_ln": "sub_layer_norm",
    "position": "position_embedding_type",
    "xpos_scale_base": "xpos_scale_base",
    "layer_norm_eps": "layer_norm_eps",
    "init": "weight_init",
}
_CLIP = {
    "image_size": "image_size",
    "hidden_size": "hidden_size",
    "patch_size": "patch_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "ffn_size": "intermediate_size",
    "activation": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
}
_CONV = {
    name: name for name in ("image_size", "channels", "stem_stride", "blocks", "norm", "layer_norm_eps", "hidden_size")
}
_RESAMPLER = {
    "kind": "projector_type",
    "num_latents": "image_seq_length",
    "num_heads": "projector_num_heads",
    "num_layers": "projector_num_layers",
    "attention_dropout": "projector_attention_dropout",
}


def to_transformers_config(config: ModelConfig, tokenizer: Tokenizer) -> KosmosConfig:
    """The KosmosConfig of a model. Raises ConfigError for modalities of other packages: their code is not here."""
    from transformers import CLIPVisionConfig

    from kosmos.interop.remote_code.configuration_kosmos import KosmosConfig, KosmosConvVisionConfig, KosmosTextConfig

    if config.extra_modalities:
        raise ConfigError(
            f"extra_modalities: {', '.join(config.extra_modalities)}: a transformers folder reads text and pictures "
            "alone; export with --format kosmos"
        )
    text = KosmosTextConfig(
        **_taken(config.decoder, _DECODER),
        pad_token_id=tokenizer.pad_id,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
    )
    seen: PreTrainedConfig | None = None
    trainable: dict[str, Any] = {}
    if config.vision is not None:
        if config.vision.kind == "clip":
            seen = CLIPVisionConfig(**_taken(config.vision, _CLIP), attention_dropout=0.0)
        else:
            seen = KosmosConvVisionConfig(**_taken(config.vision, _CONV))
        trainable["vision_trainable"] = config.vision.trainable
    return KosmosConfig(
        text_config=text,
        vision_config=seen,
        image_token_id=tokenizer.slot_id,
        image_begin_token_id=tokenizer.special_id("<image>"),
        image_end_token_id=tokenizer.special_id("</image>"),
        **_taken(config.resampler, _RESAMPLER),
        **trainable,
    )


def config_to_transformers(config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """As `to_transformers_config`, as the dict that config.json holds (without `auto_map`)."""
    made: dict[str, Any] = to_transformers_config(config, tokenizer).to_dict()
    return made


def from_transformers_config(config: KosmosConfig, **normalization: Any) -> ModelConfig:
    """The ModelConfig that `to_transformers_config` was given, but for paths to pretrained parts and the precision.

    `normalization`: the image processor's `image_mean` and `image_std`. Raises ConfigError for what
    ours cannot express.
    """
    from transformers import CLIPVisionConfig

    if config.text_config.hidden_act != "gelu":
        raise ConfigError(f"text_config.hidden_act is {config.text_config.hidden_act!r}; this project has only 'gelu'")
    vision: VisionConfig | None = None
    if config.vision_config is not None:
        clip = isinstance(config.vision_config, CLIPVisionConfig)
        fields = _given(config.vision_config, _CLIP if clip else _CONV)
        if not clip:
            fields["channels"] = tuple(fields["channels"])
        vision = VisionConfig(
            kind="clip" if clip else "conv",
            trainable=config.vision_trainable,  # type: ignore[arg-type]
            **fields,
            **normalization,
        )
    return ModelConfig(
        decoder=DecoderConfig(**_given(config.text_config, _DECODER)),
        vision=vision,
        resampler=ResamplerConfig(**_given(config, _RESAMPLER)),
    )


def _taken(ours: object, names: dict[str, str]) -> dict[str, Any]:
    return {theirs: getattr(ours, name) for name, theirs in names.items()}


def _given(theirs: object, names: dict[str, str]) -> dict[str, Any]:
    return {name: getattr(theirs, other) for name, other in names.items()}
