from __future__ import annotations

import pytest
import torch

from kosmos.config import DecoderConfig, ModelConfig
from kosmos.inference.bench import Card, prefill_flops, prompt, random_model, shaped, small_processor
from kosmos.inference.engine import Engine
from kosmos.machine import measured_bandwidth, measured_peak
from kosmos.presets import load_preset


def test_the_paper_s_decoder() -> None:
    """24 x 2048, 64,007 words: figures from kosmos-1.md and the anchors."""
    config = shaped(load_preset("kosmos-1"))
    assert config.vision is None
    # 2 * 1.3 billion weights a token, of which the head only once.
    assert prefill_flops(config.decoder, 1) == pytest.approx(2 * (24 * 12 * 2048**2 + 64007 * 2048), rel=1e-3)
    card = Card("gpu", 1, "bf16", None, 0, 2 * (24 * 12 * 2048**2 + 64007 * 2048), 2 * 24 * 2048 * 2, 3.35e12, 1e15)
    assert 1000 / card.ceiling(1, 0) == pytest.approx(0.80, abs=0.005)  # ms a token on an H100
    assert card.kv_bytes_per_token == 196_608
    assert card.ceiling(16, 1000) < 16 * card.ceiling(1, 1000)


def test_shaped() -> None:
    decoder = shaped(load_preset("kosmos-1"), layers=8, width=512, vocabulary=8000).decoder
    assert (decoder.num_layers, decoder.hidden_size, decoder.ffn_size, decoder.num_heads) == (8, 512, 2048, 8)
    assert (decoder.vocab_size, decoder.max_positions) == (8000, 2048)
    assert shaped(load_preset("kosmos-1"), width=64).decoder.num_heads == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_models_run(dtype: torch.dtype) -> None:
    config = ModelConfig(DecoderConfig(num_layers=2, hidden_size=32, ffn_size=64, num_heads=4, vocab_size=300))
    model = random_model(shaped(config), dtype, torch.device("cpu"))
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    engine = Engine(model, small_processor(model.config), precision="bf16" if dtype == torch.bfloat16 else "fp32")
    document = prompt(engine, 40)
    assert 30 <= len(engine.encode(document)) <= 40
    assert len(engine.generate([document], 5)[0].token_ids) in range(1, 6)


def test_a_machine_does_something() -> None:
    device = torch.device("cpu")
    assert measured_bandwidth(device, 1, seconds=0.0) > 1e6
    assert measured_peak(device, "fp32", seconds=0.0) > 1e6
