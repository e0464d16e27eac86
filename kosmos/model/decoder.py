"""The Magneto decoder: a causal Transformer with sub-LayerNorm (paper 2.2, Table 17)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kosmos.config import DecoderConfig
from kosmos.errors import ConfigError
from kosmos.model.attention import CausalSelfAttention, KeyValueCache, Visibility, visibility
from kosmos.model.init import PAD_ID, initialize_decoder
from kosmos.model.positions import Rotation, sinusoidal, xpos


class ScaledEmbedding(nn.Embedding):
    """Token embeddings times sqrt(D); `scale` is what embeddings from elsewhere (images) must be multiplied by."""

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__(vocab_size, hidden_size, padding_idx=PAD_ID)
        self.scale = math.sqrt(hidden_size)

    def forward(self, token_ids: Tensor) -> Tensor:
        """int64 [B, T] -> [B, T, D]."""
        return super().forward(token_ids) * self.scale


class FeedForward(nn.Module):
    """fc2(LN(gelu(fc1(x)))): the sub-LayerNorm stands after the activation, over the inner width."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.ffn_size)
        self.activation_dropout = nn.Dropout(config.activation_dropout)
        self.ffn_layernorm = nn.LayerNorm(config.ffn_size, eps=config.layer_norm_eps) if config.sub_ln else None
        self.fc2 = nn.Linear(config.ffn_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation_dropout(F.gelu(self.fc1(x)))
        if self.ffn_layernorm is not None:
            inner = self.ffn_layernorm(inner)
        result: Tensor = self.fc2(inner)
        return result


class DecoderLayer(nn.Module):
    """Attention and feed-forward, each as x + dropout(f(LN(x)))."""

    def __init__(self, config: DecoderConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.attention_pre_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = CausalSelfAttention(
            config.hidden_size, config.num_heads, config.attention_dropout, config.sub_ln, config.layer_norm_eps
        )
        self.ffn_pre_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.ffn = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, seen: Visibility, rotation: Rotation | None, cache: KeyValueCache | None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_pre_norm(x), seen, rotation, cache, self.index))
        result: Tensor = x + self.dropout(self.ffn(self.ffn_pre_norm(x)))
        return result


class Decoder(nn.Module):
    """Embeddings, layers, final LayerNorm, and the output head tied to the embeddings."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        if config.hidden_size % config.num_heads or (config.hidden_size // config.num_heads) % 2:
            raise ConfigError(
                f"decoder: hidden_size {config.hidden_size} over num_heads {config.num_heads} "
                "must give a whole, even head size"
            )
        self.config = config
        self.embedding = ScaledEmbedding(config.vocab_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(config, index) for index in range(config.num_layers))
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        initialize_decoder(self, config)

    def forward(
        self, embeddings: Tensor, segment_ids: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Scaled embeddings [B, T, D] -> hidden states [B, T, D] after the final LayerNorm.

        `segment_ids` as in `kosmos.batch.Batch`; with a cache, the cache says positions and mask instead.
        """
        config = self.config
        seen = visibility(embeddings.shape[1], segment_ids, cache, embeddings.device)
        rotation: Rotation | None = None
        with torch.no_grad():
            if config.position == "xpos":
                head_dim = config.hidden_size // config.num_heads
                rotation = xpos(seen.positions, head_dim, config.xpos_scale_base, config.max_positions // 2)
            else:
                absolute = sinusoidal(seen.positions, config.hidden_size)
        x = embeddings if rotation is not None else embeddings + absolute.to(embeddings.dtype)
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, seen, rotation, cache)
        result: Tensor = self.layer_norm(x)
        return result

    def head(self, hidden: Tensor) -> Tensor:
        """[..., D] -> logits [..., V], by the embedding matrix itself (unscaled)."""
        return F.linear(hidden, self.embedding.weight)
