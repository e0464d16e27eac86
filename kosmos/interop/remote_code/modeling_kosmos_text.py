"""The Magneto decoder of KOSMOS-1 for transformers.

This file is copied into exported folders, so it imports nothing but torch and transformers.
Shapes: B rows, T tokens, S keys, H heads, D width, d width of a head.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_kosmos import KosmosConfig, KosmosTextConfig
from .modeling_kosmos_vision import KosmosResampler, draw, linear_layer

# Kosmos-2 counts absolute positions from here.
_SINUSOIDAL_OFFSET = 2


def magneto_gamma(config: KosmosTextConfig) -> float:
    """By how much larger than queries and keys the other matrices of the decoder begin."""
    return math.sqrt(math.log(2 * config.num_hidden_layers)) if config.sub_layer_norm else 1.0


class KosmosScaledEmbedding(nn.Embedding):
    """Embeddings times `embed_scale`, the root of their width."""

    def __init__(self, vocab_size: int, hidden_size: int, padding_idx: int | None) -> None:
        super().__init__(vocab_size, hidden_size, padding_idx)
        self.embed_scale = math.sqrt(hidden_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids) * self.embed_scale


class KosmosPositions(nn.Module):
    """Absolute positions where the configuration has them, and the dropout on what enters the layers."""

    def __init__(self, config: KosmosTextConfig) -> None:
        super().__init__()
        self.sinusoidal = config.position_embedding_type == "sinusoidal"
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden_states: Tensor, position_ids: Tensor) -> Tensor:
        if self.sinusoidal:
            half = hidden_states.shape[-1] // 2
            steps = torch.arange(half, dtype=torch.float32, device=hidden_states.device)
            frequency = torch.exp(steps * -(math.log(10000.0) / (half - 1)))
            angles = (position_ids + _SINUSOIDAL_OFFSET)[..., None].float() * frequency
            hidden_states = hidden_states + torch.cat((angles.sin(), angles.cos()), dim=-1).to(hidden_states.dtype)
        return self.dropout(hidden_states)


def xpos_factors(position_ids: Tensor, config: KosmosTextConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines, sines and sizes [B or 1, 1, T, d / 2] that turn and stretch the pairs of a head, in fp32.

    The centre is fixed, so that keys can be kept as they are turned; only distances matter.
    """
    half = torch.arange(config.head_dim // 2, dtype=torch.float32, device=position_ids.device)
    zeta = (2 * half + 0.4 * config.head_dim) / (1.4 * config.head_dim)
    positions = position_ids[:, None, :, None].float()
    angles = positions * 10000.0 ** (-half / (config.head_dim // 2))
    exponent = (positions - config.max_position_embeddings // 2) / config.xpos_scale_base
    return angles.cos(), angles.sin(), zeta**exponent


def turn_pairs(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """[B, H, T, d] with its neighbouring pairs turned, in fp32, returned as it came."""
    even, odd = states.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), dim=-1)
    return turned.flatten(-2).to(states.dtype)


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention written out: [B, H, T, d] over [B, H, S, d] -> [B, T, H, d], and the weights [B, H, T, S]."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class KosmosAttention(nn.Module):
    """Causal self-attention; with sub-LayerNorm, all heads joined are normalised before `out_proj`."""

    def __init__(self, config: KosmosTextConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = 1
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = True
        width = config.hidden_size
        form, gamma = config.weight_init, magneto_gamma(config)
        self.q_proj = linear_layer(width, width, form)
        self.k_proj = linear_layer(width, width, form)
        self.v_proj = linear_layer(width, width, form, gamma)
        self.inner_attn_ln = nn.LayerNorm(width, eps=config.layer_norm_eps) if config.sub_layer_norm else None
        self.out_proj = linear_layer(width, width, form, gamma)

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor, Tensor] | None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden_states).view(shape).transpose(1, 2)
        key = self.k_proj(hidden_states).view(shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        if position_embeddings is not None:
            cosines, sines, sizes = position_embeddings
            query = turn_pairs(query, cosines * sizes, sines * sizes)
            key = turn_pairs(key, cosines / sizes, sines / sizes)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        joined, weights = attention(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        joined = joined.reshape(*hidden_states.shape[:-1], -1).contiguous()
        if self.inner_attn_ln is not None:
            joined = self.inner_attn_ln(joined)
        return self.out_proj(joined), weights


class KosmosMLP(nn.Module):
    """fc2(LN(act(fc1(x)))): the sub-LayerNorm stands behind the activation."""

    def __init__(self, config: KosmosTextConfig) -> None:
        super().__init__()
        form, gamma = config.weight_init, magneto_gamma(config)
        self.fc1 = linear_layer(config.hidden_size, config.intermediate_size, form, gamma)
        self.act_fn = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.activation_dropout)
        inner = config.intermediate_size
        self.ffn_layernorm = nn.LayerNorm(inner, eps=config.layer_norm_eps) if config.sub_layer_norm else None
        self.fc2 = linear_layer(inner, config.hidden_size, form, gamma)

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden_states = self.dropout(self.act_fn(self.fc1(hidden_states)))
        if self.ffn_layernorm is not None:
            hidden_states = self.ffn_layernorm(hidden_states)
        return self.fc2(hidden_states)


class KosmosDecoderLayer(GradientCheckpointingLayer):
    """Attention and feed-forward, each as x + dropout(f(LN(x)))."""

    def __init__(self, config: KosmosTextConfig, layer_idx: int) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = KosmosAttention(config, layer_idx)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = KosmosMLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        # In the first layer, so that whoever splits the layers over machines adds positions once.
        self.embed_positions = KosmosPositions(config) if layer_idx == 0 else None

    def forward(self, hidden_states: Tensor, position_ids: Tensor, **kwargs: Any) -> Tensor:
        if self.embed_positions is not None:
            hidden_states = self.embed_positions(hidden_states, position_ids)
        kwargs["position_ids"] = position_ids
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.post_attention_layernorm(hidden_states)))


class KosmosPreTrainedModel(PreTrainedModel):
    """What the decoder and the whole model share: initialisation, and what they are able to do."""

    config_class: type[PreTrainedConfig] = KosmosConfig
    config: Any
    base_model_prefix = "model"
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["KosmosDecoderLayer", "KosmosResampler", "CLIPEncoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Magneto for the decoder, Xavier for the resampler's attention, torch's own for what is left."""
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=module.embedding_dim**-0.5)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.Linear):
            draw(module)
        elif isinstance(module, KosmosResampler):
            init.normal_(module.latents)
        else:
            super()._init_weights(module)


class KosmosTextModel(KosmosPreTrainedModel):
    """The decoder without its head: token ids or embeddings [B, T, D] to hidden states [B, T, D]."""

    config_class = KosmosTextConfig
    input_modalities = ["text"]
    _can_record_outputs = {"hidden_states": KosmosDecoderLayer, "attentions": KosmosAttention}

    def __init__(self, config: KosmosTextConfig) -> None:
        super().__init__(config)
        self.embed_tokens = KosmosScaledEmbedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(KosmosDecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            position_ids = self._positions(inputs_embeds, attention_mask, past_key_values)
        causal_mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        xpos = self.config.position_embedding_type == "xpos"
        position_embeddings = xpos_factors(position_ids, self.config) if xpos else None
        hidden_states = inputs_embeds
        for layer in self.layers[: self.config.num_hidden_layers]:
            hidden_states = layer(
                hidden_states,
                attention_mask=causal_mask,
                position_embeddings=position_embeddings,
                position_ids=position_ids,
                past_key_values=past_key_values,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)

    @staticmethod
    def _positions(inputs_embeds: Tensor, attention_mask: Tensor | None, past_key_values: Cache | None) -> Tensor:
        """How many tokens that are no padding stand before each of the new ones, [B or 1, T]."""
        num_tokens = inputs_embeds.shape[1]
        if attention_mask is not None and attention_mask.ndim == 2:
            return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -num_tokens:]
        seen = 0 if past_key_values is None else past_key_values.get_seq_length()
        return (torch.arange(num_tokens, device=inputs_embeds.device) + seen)[None]


__all__ = ["KosmosPreTrainedModel", "KosmosTextModel"]
