"""Parameter counts at full size, without memory for it."""

from __future__ import annotations

from dataclasses import replace

from kosmos.config import ModelConfig
from kosmos.model.counting import count_parameters
from tests.model.tiny import tiny_config, tiny_model


def test_kosmos_1() -> None:
    counts = count_parameters(ModelConfig())
    assert counts.text == 1_340_180_480
    assert counts.vision == 303_179_776
    assert counts.resampler == 19_015_680
    assert counts.other == 0
    assert counts.total == 1_662_375_936
    # Frozen is the tower but for its last block and the post-LayerNorm.
    assert counts.trainable == counts.total - (303_179_776 - 12_596_224 - 2_048)


def test_language_only() -> None:
    counts = count_parameters(replace(ModelConfig(), vision=None))
    assert (counts.total, counts.vision, counts.resampler) == (1_340_180_480, 0, 0)


def test_equals_a_real_model() -> None:
    model = tiny_model()
    counts = count_parameters(tiny_config())
    assert counts.total == sum(parameter.numel() for parameter in model.parameters())
    assert counts.trainable == sum(parameter.numel() for parameter in model.trainable_parameters())


def test_pretrained_weights_are_not_read() -> None:
    counts = count_parameters(tiny_config(**{"vision.pretrained": "no/such/folder"}))
    assert counts == count_parameters(tiny_config())
