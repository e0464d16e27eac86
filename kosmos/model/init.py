"""Initialisation: Magneto for the decoder (two published forms), fairseq's for the resampler's attention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from kosmos.config import DecoderConfig

if TYPE_CHECKING:
    from kosmos.model.attention import MultiHeadAttention
    from kosmos.model.decoder import Decoder

PAD_ID = 1
# The matrices Magneto scales by gamma; queries and keys are left alone.
_SCALED = ("v_proj", "out_proj", "fc1", "fc2")


def magneto_gamma(num_layers: int) -> float:
    """sqrt(log(2M)) for a decoder of M layers (Foundation Transformers)."""
    return math.sqrt(math.log(2 * num_layers))


@torch.no_grad()
def initialize_decoder(decoder: Decoder, config: DecoderConfig) -> None:
    """Magneto: gamma on v_proj, out_proj, fc1 and fc2; q_proj and k_proj keep gain 1. Embeddings N(0, D^-0.5).

    `torchscale` multiplies torch's default Linear init, biases too, as the published code does; `paper` draws
    Xavier-normal matrices and zero biases, as the article says. Without sub-LN gamma is 1.
    """
    gamma = magneto_gamma(config.num_layers) if config.sub_ln else 1.0
    nn.init.normal_(decoder.embedding.weight, std=config.hidden_size**-0.5)
    decoder.embedding.weight[PAD_ID].zero_()
    for name, linear in decoder.named_modules():
        if not isinstance(linear, nn.Linear):
            continue
        gain = gamma if name.rpartition(".")[2] in _SCALED else 1.0
        if config.init == "torchscale":
            linear.weight.mul_(gain)
            linear.bias.mul_(gain)
        else:
            nn.init.xavier_normal_(linear.weight, gain=gain)
            nn.init.zeros_(linear.bias)


@torch.no_grad()
def initialize_cross_attention(attention: MultiHeadAttention) -> None:
    """Xavier-uniform: gain 1/sqrt(2) for queries, keys and values, gain 1 and zero bias for the output."""
    for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
        nn.init.xavier_uniform_(linear.weight, gain=1 / math.sqrt(2))
    nn.init.xavier_uniform_(attention.out_proj.weight)
    nn.init.zeros_(attention.out_proj.bias)
