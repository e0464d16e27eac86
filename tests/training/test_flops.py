"""Operations against the paper's scale and against torch's own counter."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kosmos.batch import Batch, ModalityInputs, round_up
from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig
from kosmos.config import replace as change
from kosmos.model.kosmos import Kosmos
from kosmos.presets import load_preset
from kosmos.training.flops import (
    Amount,
    causal_attention_flops,
    num_positions,
    picture_flops,
    step_flops,
    token_flops,
)
from kosmos.training.step import TrainingModule

DECODER = DecoderConfig(
    num_layers=2, hidden_size=32, ffn_size=48, num_heads=4, vocab_size=50, max_positions=64, dropout=0.0
)
DECODER = change(DECODER, attention_dropout=0.0)
CLIP = VisionConfig(
    image_size=28, patch_size=7, hidden_size=24, num_layers=3, num_heads=2, ffn_size=40, trainable="last_layer"
)
CONV = VisionConfig(kind="conv", image_size=16, hidden_size=16, channels=(8, 16), blocks=2, trainable="all")
RESAMPLER = ResamplerConfig(num_latents=3, num_heads=4, attention_dropout=0.0)


def test_kosmos_1_has_the_figures_of_its_scale() -> None:
    config = load_preset("kosmos-1")
    assert token_flops(config.decoder, 2048) / 1e9 == pytest.approx(8.64, abs=0.005)
    assert picture_flops(config).tower_forward / 1e9 == pytest.approx(162, abs=0.5)
    step = step_flops(config, [Amount(499_712, 2048), Amount(499_712, 2048, 5_744), Amount(200_704, 2048, 256)])
    assert step.counted / 1e15 == pytest.approx(11.3, abs=0.05)
    assert (step.tower_backward + step.resampler) / step.counted == pytest.approx(0.02, abs=0.002)
    seconds = step.counted / (0.4 * 989.4e12)
    assert seconds == pytest.approx(28.7, abs=0.1)
    assert 300_000 * seconds / 86_400 == pytest.approx(100, abs=1)


def test_the_usual_formula() -> None:
    """6N + 6LdT: N all weights, of which biases and LayerNorms are a thousandth."""
    config = load_preset("kosmos-1").decoder
    assert token_flops(config, 2048) == pytest.approx(6 * 1_340_180_480 + 6 * 24 * 2048 * 2048, rel=1e-3)


def test_no_torch_is_needed() -> None:
    code = "import sys, kosmos.training.flops, kosmos.training.hardware; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def models() -> list[object]:
    trainable = [change(CLIP, trainable=which) for which in ("last_layer", "all", "none")]
    towers = [*trainable, CONV, change(CONV, trainable="last_layer", stem_stride=4)]
    plain = [ModelConfig(DECODER, tower, RESAMPLER) for tower in towers]
    perceiver = ModelConfig(DECODER, CLIP, change(RESAMPLER, kind="perceiver", num_layers=2))
    configs = [*plain, perceiver, ModelConfig(DECODER, None)]
    names = ["clip last layer", "clip all", "clip none", "conv all", "conv last layer", "perceiver", "no vision"]
    return [pytest.param(config, id=name) for config, name in zip(configs, names)]


@pytest.mark.parametrize("config", models())
def test_as_torch_counts(config: ModelConfig) -> None:
    """Torch's counter takes attention for a full square, and makes scores once more in the backward pass."""
    rows, length, images = 2, 24, 4
    torch.manual_seed(0)
    module = TrainingModule(Kosmos(config, random_vision=True).train())
    inputs = {}
    if config.vision is not None:
        side, latents = config.vision.image_size, config.resampler.num_latents
        slots = torch.arange(images * latents).reshape(images, latents)
        inputs = {"image": ModalityInputs(torch.zeros(images, 3, side, side), slots)}
    # All but each row's first token: the head leaves out one position of each row.
    batch = Batch(torch.full((rows, length), 5), torch.ones(rows, length, dtype=torch.bool), inputs=inputs)
    counter = FlopCounterMode(display=False)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), counter:
        loss, count = module(batch)
        loss.backward()
    assert int(count) == rows * (length - 1)
    # The head rounds the number of its positions up.
    logits = round_up(rows * (length - 1))
    amount = Amount(rows * length, length, images if config.vision else 0, supervised=logits)
    expected = step_flops(config, [amount])
    other_half = 3 * causal_attention_flops(config.decoder, length) * rows * length
    assert counter.get_total_flops() == pytest.approx(expected.done + other_half, rel=1e-9)


@pytest.mark.parametrize("vision", [CLIP, CONV, change(CONV, stem_stride=4)])
def test_positions_of_a_picture(vision: VisionConfig) -> None:
    model = Kosmos(ModelConfig(DECODER, vision, RESAMPLER), random_vision=True)
    tower: Any = model.encoders["image"].vision
    features = tower(torch.zeros(1, 3, vision.image_size, vision.image_size))
    assert features.shape[1] == num_positions(vision)


def test_what_counts() -> None:
    frozen = step_flops(ModelConfig(DECODER, CLIP, RESAMPLER), [Amount(10, 24, 2, supervised=4)])
    assert frozen.counted == frozen.decoder + frozen.attention + frozen.head + frozen.tower_forward
    assert frozen.head_left_out == pytest.approx(0.6 * frozen.head)
    learning = step_flops(ModelConfig(DECODER, CONV, RESAMPLER), [Amount(10, 24, 2)])
    assert learning.counted == pytest.approx(learning.done - learning.resampler)
    assert learning.head_left_out == 0
