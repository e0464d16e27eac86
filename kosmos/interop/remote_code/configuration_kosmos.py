"""Configurations of KOSMOS-1 models for transformers.

This file is copied into exported folders, so it imports nothing but transformers.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, CLIPVisionConfig, PreTrainedConfig

# Written into every config.json, so that each Auto class finds the code beside it, whatever class was saved.
AUTO_MAP = {
    "AutoConfig": "configuration_kosmos.KosmosConfig",
    "AutoModel": "modeling_kosmos.KosmosModel",
    "AutoModelForCausalLM": "modeling_kosmos.KosmosForConditionalGeneration",
    "AutoModelForImageTextToText": "modeling_kosmos.KosmosForConditionalGeneration",
    "AutoModelForMultimodalLM": "modeling_kosmos.KosmosForConditionalGeneration",
}


class KosmosTextConfig(PreTrainedConfig):
    """The Magneto decoder. Defaults are KOSMOS-1's (1.3 billion parameters).

    position_embedding_type   `xpos` (relative) or `sinusoidal` (absolute, as in Kosmos-2)
    sub_layer_norm            a LayerNorm before `out_proj` over all heads joined, and one before `fc2`
    weight_init               `torchscale`: the published code's; `paper`: the article's (xavier normal, zero biases)
    """

    model_type = "kosmos1_text"
    base_config_key = "text_config"
    keys_to_ignore_at_inference = ["past_key_values"]
    # The sub-LayerNorms look at all heads and at the whole inner width, so what is sharded must be gathered at once.
    base_model_tp_plan = {
        "layers.*.self_attn.q_proj": "colwise_gather_output",
        "layers.*.self_attn.k_proj": "colwise_gather_output",
        "layers.*.self_attn.v_proj": "colwise_gather_output",
        "layers.*.self_attn.out_proj": "colwise_gather_output",
        "layers.*.mlp.fc1": "colwise_gather_output",
        "layers.*.mlp.fc2": "colwise_gather_output",
    }
    base_model_pp_plan = {
        "embed_tokens": (["input_ids"], ["inputs_embeds"]),
        "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "norm": (["hidden_states"], ["hidden_states"]),
    }

    def __init__(
        self,
        vocab_size: int = 64007,
        hidden_size: int = 2048,
        intermediate_size: int = 8192,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 32,
        max_position_embeddings: int = 2048,
        hidden_act: str = "gelu",
        hidden_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        layer_norm_eps: float = 1e-5,
        position_embedding_type: str = "xpos",
        xpos_scale_base: int = 512,
        sub_layer_norm: bool = True,
        weight_init: str = "torchscale",
        use_cache: bool = True,
        pad_token_id: int | None = 1,
        bos_token_id: int | None = 0,
        eos_token_id: int | None = 2,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        if position_embedding_type not in ("xpos", "sinusoidal"):
            raise ValueError(f"position_embedding_type is '{position_embedding_type}'; choose xpos or sinusoidal")
        if weight_init not in ("torchscale", "paper"):
            raise ValueError(f"weight_init is '{weight_init}'; choose torchscale or paper")
        if hidden_size % num_attention_heads or (hidden_size // num_attention_heads) % 2:
            raise ValueError(
                f"hidden_size {hidden_size} over num_attention_heads {num_attention_heads} must give a whole, even size"
            )
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        # What key-value caches and servers look for.
        self.num_key_value_heads = num_attention_heads
        self.head_dim = hidden_size // num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.hidden_act = hidden_act
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.activation_dropout = activation_dropout
        self.layer_norm_eps = layer_norm_eps
        self.position_embedding_type = position_embedding_type
        self.xpos_scale_base = xpos_scale_base
        self.sub_layer_norm = sub_layer_norm
        self.weight_init = weight_init
        self.use_cache = use_cache
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        self.tie_word_embeddings = tie_word_embeddings
        for derived in ("num_key_value_heads", "head_dim"):
            kwargs.pop(derived, None)
        super().__init__(**kwargs)


class KosmosConvVisionConfig(PreTrainedConfig):
    """A small convolutional vision tower: stages of `channels`, the first shrinks the picture by `stem_stride`, each
    further one by 2, each has `blocks` residual convolutions; `norm` is `group` or `batch`."""

    model_type = "kosmos1_conv_vision"
    base_config_key = "vision_config"

    def __init__(
        self,
        image_size: int = 48,
        channels: tuple[int, ...] | list[int] = (64, 128),
        stem_stride: int = 2,
        blocks: int = 1,
        norm: str = "group",
        layer_norm_eps: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        if norm not in ("group", "batch"):
            raise ValueError(f"norm is '{norm}'; choose group or batch")
        self.image_size = image_size
        self.channels = list(channels)
        self.hidden_size = self.channels[-1]
        self.num_channels = 3
        self.stem_stride = stem_stride
        self.blocks = blocks
        self.norm = norm
        self.layer_norm_eps = layer_norm_eps
        for derived in ("hidden_size", "num_channels"):
            kwargs.pop(derived, None)
        super().__init__(**kwargs)


class KosmosConfig(PreTrainedConfig):
    """A decoder that reads text and pictures.

    vision_config         a CLIPVisionConfig, a KosmosConvVisionConfig, a dict of either, or None: reads text only
    image_token_id        the token that stands at each of a picture's `image_seq_length` places
    image_begin_token_id, image_end_token_id   the tokens before and behind them
    projector_type        `cross_attention`: one layer without residuals; `perceiver`: Flamingo's Resampler
    vision_trainable      what of the vision tower was trained: `last_layer`, `all` or `none` (see `freeze_vision`)
    """

    model_type = "kosmos1"
    sub_configs = {"text_config": KosmosTextConfig, "vision_config": AutoConfig}
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        text_config: KosmosTextConfig | dict[str, Any] | None = None,
        vision_config: PreTrainedConfig | dict[str, Any] | None = None,
        image_token_id: int = 64001,
        image_begin_token_id: int = 64003,
        image_end_token_id: int = 64004,
        image_seq_length: int = 64,
        projector_type: str = "cross_attention",
        projector_num_heads: int = 32,
        projector_num_layers: int = 6,
        projector_attention_dropout: float = 0.1,
        vision_trainable: str = "last_layer",
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        if projector_type not in ("cross_attention", "perceiver"):
            raise ValueError(f"projector_type is '{projector_type}'; choose cross_attention or perceiver")
        if text_config is None or isinstance(text_config, dict):
            text_config = KosmosTextConfig(**(text_config or {}))
        if isinstance(vision_config, dict):
            vision_config = _vision_config(vision_config)
        text_config.tie_word_embeddings = tie_word_embeddings
        self.text_config = text_config
        self.vision_config = vision_config
        self.image_token_id = image_token_id
        self.image_begin_token_id = image_begin_token_id
        self.image_end_token_id = image_end_token_id
        self.image_seq_length = image_seq_length
        self.projector_type = projector_type
        self.projector_num_heads = projector_num_heads
        self.projector_num_layers = projector_num_layers
        self.projector_attention_dropout = projector_attention_dropout
        self.vision_trainable = vision_trainable
        self.tie_word_embeddings = tie_word_embeddings
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            setattr(self, name, kwargs.pop(name, getattr(text_config, name)))
        kwargs.setdefault("auto_map", dict(AUTO_MAP))
        super().__init__(**kwargs)

    # Tools for text models look for these beside `text_config`.

    @property
    def max_position_embeddings(self) -> int:
        return self.text_config.max_position_embeddings

    @property
    def hidden_size(self) -> int:
        return self.text_config.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.text_config.vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        self.text_config.vocab_size = value


def _vision_config(fields: dict[str, Any]) -> PreTrainedConfig:
    kind = fields.get("model_type", CLIPVisionConfig.model_type)
    for known in (CLIPVisionConfig, KosmosConvVisionConfig):
        if kind == known.model_type:
            return known(**{name: value for name, value in fields.items() if name != "model_type"})
    raise ValueError(f"vision_config.model_type is '{kind}'; choose clip_vision_model or kosmos1_conv_vision")


# `save_pretrained` copies this file.
KosmosConfig.register_for_auto_class()

__all__ = ["KosmosConfig", "KosmosConvVisionConfig", "KosmosTextConfig"]
