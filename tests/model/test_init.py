"""Initialisation: the spread of every matrix, both published forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kosmos.config import DecoderConfig, ResamplerConfig
from kosmos.model.decoder import Decoder
from kosmos.model.init import magneto_gamma
from kosmos.model.resampler import build_resampler

HIDDEN, FFN, LAYERS, VOCAB = 128, 512, 3, 600
SCALED = ("v_proj", "out_proj", "fc1", "fc2")


def _decoder(init: str, sub_ln: bool = True) -> Decoder:
    torch.manual_seed(0)
    return Decoder(
        DecoderConfig(
            num_layers=LAYERS,
            hidden_size=HIDDEN,
            ffn_size=FFN,
            num_heads=4,
            vocab_size=VOCAB,
            sub_ln=sub_ln,
            init="paper" if init == "paper" else "torchscale",
        )
    )


def _linears(decoder: Decoder) -> dict[str, nn.Linear]:
    return {name: module for name, module in decoder.named_modules() if isinstance(module, nn.Linear)}


def test_gamma_of_the_paper() -> None:
    assert magneto_gamma(24) == pytest.approx(1.9675, abs=1e-4)


@pytest.mark.parametrize("sub_ln", [True, False])
def test_torchscale_form(sub_ln: bool) -> None:
    linears = _linears(_decoder("torchscale", sub_ln))
    assert len(linears) == 6 * LAYERS
    for name, linear in linears.items():
        scaled = sub_ln and name.endswith(SCALED)
        gamma = math.sqrt(math.log(2 * LAYERS)) if scaled else 1.0
        bound = gamma / math.sqrt(linear.in_features)
        assert linear.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02), name
        assert linear.weight.abs().max().item() == pytest.approx(bound, rel=0.01), name
        # The published code scales biases too.
        assert linear.bias.abs().max().item() == pytest.approx(bound, rel=0.05), name


def test_paper_form() -> None:
    for name, linear in _linears(_decoder("paper")).items():
        gain = math.sqrt(math.log(2 * LAYERS)) if name.endswith(SCALED) else 1.0
        wanted = gain * math.sqrt(2 / (linear.in_features + linear.out_features))
        assert linear.weight.std().item() == pytest.approx(wanted, rel=0.02), name
        assert linear.weight.abs().max().item() > 3 * wanted, f"{name} is not normal"
        assert linear.bias.abs().max().item() == 0.0


def test_embeddings_and_norms() -> None:
    decoder = _decoder("torchscale")
    weight = decoder.embedding.weight
    assert weight[1].abs().max().item() == 0.0
    assert weight[2:].std().item() == pytest.approx(HIDDEN**-0.5, rel=0.02)
    norms = [module for module in decoder.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 4 * LAYERS + 1
    assert all(bool((norm.weight == 1).all()) and bool((norm.bias == 0).all()) for norm in norms)
    assert {norm.eps for norm in norms} == {1e-5}


def test_resampler() -> None:
    torch.manual_seed(0)
    resampler = build_resampler(ResamplerConfig(num_latents=64, num_heads=4), 96, HIDDEN)
    values = dict(resampler.named_parameters())
    assert values["latents"].std().item() == pytest.approx(1.0, rel=0.03)
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        gain = 1.0 if name == "out_proj" else 1 / math.sqrt(2)
        bound = gain * math.sqrt(6 / (2 * HIDDEN))
        assert values[f"attention.{name}.weight"].abs().max().item() == pytest.approx(bound, rel=0.01), name
        assert values[f"attention.{name}.weight"].std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02), name
    assert values["attention.out_proj.bias"].abs().max().item() == 0.0
    assert values["attention.q_proj.bias"].abs().max().item() > 0.05
    assert values["dense.weight"].abs().max().item() == pytest.approx(1 / math.sqrt(96), rel=0.01)
