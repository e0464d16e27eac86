"""What a KOSMOS-1 model sees with, for transformers: a convolutional tower and the resamplers.

This file is copied into exported folders, so it imports nothing but torch and transformers.
Shapes: N pictures, P positions of a picture, C width of its features, L places it takes, D width of the decoder.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_kosmos import KosmosConfig, KosmosConvVisionConfig


def linear_layer(inputs: int, outputs: int, form: str, gain: float = 1.0) -> nn.Linear:
    """A linear layer that knows how its weights are drawn anew; see `draw`.

    The layer itself, as transformers does not ask modules of foreign code that hold no parameters of their own.
    """
    layer = nn.Linear(inputs, outputs)
    layer.drawn = (form, gain)  # type: ignore[assignment]
    return layer


def draw(layer: nn.Linear | nn.Conv2d) -> None:
    """`torchscale`: torch's own initialisation times the gain, the bias too; `paper`: xavier normal and a bias of zero;
    `attention`: xavier uniform, torch's own bias; `output`: xavier uniform and a bias of zero."""
    form, gain = getattr(layer, "drawn", ("torchscale", 1.0))
    bound = 1 / math.sqrt(layer.weight[0].numel())
    if form == "torchscale":
        bound *= gain
        init.uniform_(layer.weight, -bound, bound)
    elif form == "paper":
        init.xavier_normal_(layer.weight, gain=gain)
    else:
        init.xavier_uniform_(layer.weight, gain=gain)
    if layer.bias is not None and form in ("paper", "output"):
        init.zeros_(layer.bias)
    elif layer.bias is not None:
        init.uniform_(layer.bias, -bound, bound)


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(max(1, channels // 16), channels)


class KosmosConvBlock(nn.Module):
    """x + relu(norm(conv(x))), a 3 x 3 convolution."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = _norm(norm, channels)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states + F.relu(self.norm(self.conv(hidden_states)))


class KosmosConvShrink(nn.Module):
    """A convolution that divides the sides of the picture by `stride`."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        kernel, padding = (3, 1) if stride == 2 else (stride, 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
        self.norm = _norm(norm, outputs)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(hidden_states)))


class KosmosConvVisionModel(PreTrainedModel):
    """Pixels [N, 3, S, S] to features [N, P, C], before `post_layernorm`."""

    config_class = KosmosConvVisionConfig
    config: KosmosConvVisionConfig
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    _no_split_modules = ["KosmosConvBlock", "KosmosConvShrink"]
    # It has none, so any attention that the whole model is loaded with suits it.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: KosmosConvVisionConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        width = 3
        for stage, channels in enumerate(config.channels):
            layers.append(KosmosConvShrink(width, channels, config.stem_stride if stage == 0 else 2, config.norm))
            layers += [KosmosConvBlock(channels, config.norm) for _ in range(config.blocks)]
            width = channels
        self.features = nn.Sequential(*layers)
        self.last_layer = KosmosConvBlock(width, config.norm)
        self.post_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        first: nn.Module = self.features[0].conv  # type: ignore[assignment]
        return first

    def train(self, mode: bool = True) -> KosmosConvVisionModel:
        # Batch statistics stay as they were learned: a picture's features must not depend on its neighbours.
        return super().train(False)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            draw(module)
        else:
            super()._init_weights(module)

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        hidden_states = self.last_layer(self.features(pixel_values))
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states.flatten(2).transpose(1, 2))


class KosmosCrossAttention(nn.Module):
    """Attention of queries over other positions, nothing hidden.

    It calls torch itself: an attention that a server puts into the decoder knows nothing of pictures.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"the projector's width {hidden_size} is not a multiple of its {num_heads} heads")
        self.num_heads = num_heads
        self.dropout = dropout
        self.q_proj = linear_layer(hidden_size, hidden_size, "attention", 1 / math.sqrt(2))
        self.k_proj = linear_layer(hidden_size, hidden_size, "attention", 1 / math.sqrt(2))
        self.v_proj = linear_layer(hidden_size, hidden_size, "attention", 1 / math.sqrt(2))
        self.out_proj = linear_layer(hidden_size, hidden_size, "output")

    def forward(self, queries: Tensor, others: Tensor) -> Tensor:
        """[N, L, D] over [N, S, D] -> [N, L, D]."""
        query, key, value = (
            projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projected in (self.q_proj(queries), self.k_proj(others), self.v_proj(others))
        )
        joined = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(joined.transpose(1, 2).flatten(-2))


class KosmosPerceiverLayer(nn.Module):
    """Latents attend to features and themselves, then a feed-forward of width 4 D; both residual."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.feature_norm = nn.LayerNorm(hidden_size)
        self.latent_norm = nn.LayerNorm(hidden_size)
        self.attention = KosmosCrossAttention(hidden_size, num_heads, dropout)
        self.ffn_norm = nn.LayerNorm(hidden_size)
        self.fc1 = nn.Linear(hidden_size, 4 * hidden_size)
        self.fc2 = nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        queries = self.latent_norm(latents)
        latents = latents + self.attention(queries, torch.cat((self.feature_norm(features), queries), dim=1))
        return latents + self.fc2(F.gelu(self.fc1(self.ffn_norm(latents))))


class KosmosResampler(nn.Module):
    """Features [N, P, C] to what stands in a picture's places [N, L, D], scaled like the embeddings of words."""

    def __init__(self, config: KosmosConfig) -> None:
        super().__init__()
        assert config.vision_config is not None
        width = config.text_config.hidden_size
        heads, dropout = config.projector_num_heads, config.projector_attention_dropout
        self.embed_scale = math.sqrt(width)
        self.dense = nn.Linear(config.vision_config.hidden_size, width)
        self.latents = nn.Parameter(torch.empty(config.image_seq_length, width))
        if config.projector_type == "perceiver":
            self.layers = nn.ModuleList(
                KosmosPerceiverLayer(width, heads, dropout) for _ in range(config.projector_num_layers)
            )
            self.layer_norm = nn.LayerNorm(width)
        else:
            self.attention = KosmosCrossAttention(width, heads, dropout)

    def forward(self, features: Tensor) -> Tensor:
        projected = self.dense(features)
        latents = self.latents.to(projected.dtype).expand(len(features), -1, -1)
        if hasattr(self, "attention"):
            latents = self.attention(latents, torch.cat((projected, latents), dim=1))
        else:
            for layer in self.layers:
                latents = layer(projected, latents)
            latents = self.layer_norm(latents)
        return latents * self.embed_scale


__all__ = ["KosmosConvVisionModel", "KosmosResampler"]
