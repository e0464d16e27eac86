"""The resampler: image features [N, P, C] to a fixed number of embeddings [N, L, D] (paper 2.2).

The paper names Flamingo's Resampler; its 6 layers would break the paper's parameter count, so the default is the
single cross-attention of Kosmos-2's code. Flamingo's form is the option `perceiver`.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kosmos.config import ResamplerConfig
from kosmos.errors import ConfigError
from kosmos.model.attention import MultiHeadAttention
from kosmos.model.init import initialize_cross_attention
from kosmos.model.pretrained_part import RESAMPLER_FILE, load_part


class CrossAttentionResampler(nn.Module):
    """One cross-attention of learned latents over concat[features, latents]; no residual, LayerNorm or FFN."""

    def __init__(self, config: ResamplerConfig, feature_size: int, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(feature_size, hidden_size)
        self.latents = nn.Parameter(torch.empty(config.num_latents, hidden_size))
        self.attention = MultiHeadAttention(hidden_size, config.num_heads, config.attention_dropout)
        nn.init.normal_(self.latents)
        initialize_cross_attention(self.attention)

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, C] -> [N, L, D]."""
        projected = self.dense(features)
        latents = self.latents.to(projected.dtype).expand(len(features), -1, -1)
        result: Tensor = self.attention(latents, torch.cat((projected, latents), dim=1))
        return result


class PerceiverLayer(nn.Module):
    """Flamingo's layer: latents attend to features and themselves, then a feed-forward of width 4D; both residual."""

    def __init__(self, config: ResamplerConfig, hidden_size: int) -> None:
        super().__init__()
        self.feature_norm = nn.LayerNorm(hidden_size)
        self.latent_norm = nn.LayerNorm(hidden_size)
        self.attention = MultiHeadAttention(hidden_size, config.num_heads, config.attention_dropout)
        self.ffn_norm = nn.LayerNorm(hidden_size)
        self.fc1 = nn.Linear(hidden_size, 4 * hidden_size)
        self.fc2 = nn.Linear(4 * hidden_size, hidden_size)
        initialize_cross_attention(self.attention)

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        queries = self.latent_norm(latents)
        latents = latents + self.attention(queries, torch.cat((self.feature_norm(features), queries), dim=1))
        result: Tensor = latents + self.fc2(F.gelu(self.fc1(self.ffn_norm(latents))))
        return result


class PerceiverResampler(nn.Module):
    """Flamingo's Perceiver Resampler for still pictures (no time embeddings)."""

    def __init__(self, config: ResamplerConfig, feature_size: int, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(feature_size, hidden_size)
        self.latents = nn.Parameter(torch.empty(config.num_latents, hidden_size))
        self.layers = nn.ModuleList(PerceiverLayer(config, hidden_size) for _ in range(config.num_layers))
        self.layer_norm = nn.LayerNorm(hidden_size)
        nn.init.normal_(self.latents)

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, C] -> [N, L, D]."""
        projected = self.dense(features)
        latents = self.latents.to(projected.dtype).expand(len(features), -1, -1)
        for layer in self.layers:
            latents = layer(projected, latents)
        result: Tensor = self.layer_norm(latents)
        return result


def build_resampler(config: ResamplerConfig, feature_size: int, hidden_size: int) -> nn.Module:
    """The resampler of `config`, from features of width C to embeddings of width D."""
    if hidden_size % config.num_heads:
        raise ConfigError(
            f"resampler: hidden_size {hidden_size} is not a multiple of num_heads {config.num_heads}; change num_heads"
        )
    kind = CrossAttentionResampler if config.kind == "cross_attention" else PerceiverResampler
    resampler = kind(config, feature_size, hidden_size)
    if config.pretrained is not None:
        load_part(resampler, Path(config.pretrained) / RESAMPLER_FILE, "resampler")
    return resampler
