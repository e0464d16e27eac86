"""The resampler: the single cross-attention written out, and Flamingo's form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import save_file

from kosmos.config import ResamplerConfig
from kosmos.errors import ConfigError, DataError, StorageError
from kosmos.model.resampler import build_resampler
from tests.model.tiny import shake


@torch.no_grad()
def test_cross_attention_written_out() -> None:
    torch.manual_seed(0)
    resampler: Any = build_resampler(ResamplerConfig(num_latents=3, num_heads=1, attention_dropout=0.0), 6, 8)
    shake(resampler)
    features = torch.randn(2, 5, 6)
    for index in range(2):
        seen = torch.cat((resampler.dense(features[index]), resampler.latents))
        attention = resampler.attention
        scores = attention.q_proj(resampler.latents) @ attention.k_proj(seen).T / 8**0.5
        wanted = attention.out_proj(scores.softmax(-1) @ attention.v_proj(seen))
        torch.testing.assert_close(resampler(features)[index], wanted, rtol=1e-5, atol=1e-5)
    names = {name.split(".")[0] for name, _ in resampler.named_parameters()}
    assert names == {"dense", "latents", "attention"}
    assert resampler.attention.inner_attn_ln is None


def test_perceiver_has_layers_and_trains() -> None:
    torch.manual_seed(0)
    resampler = build_resampler(
        ResamplerConfig(kind="perceiver", num_latents=3, num_heads=2, num_layers=2, attention_dropout=0.0), 6, 8
    )
    features = torch.randn(2, 5, 6)
    embeddings = resampler(features)
    assert embeddings.shape == (2, 3, 8)
    # It ends in a LayerNorm.
    torch.testing.assert_close(embeddings.mean(-1), torch.zeros(2, 3), atol=1e-5, rtol=0)
    changed = features.clone()
    changed[1] += 1
    difference = (resampler(changed) - embeddings).abs().amax((1, 2))
    assert difference[0].item() == 0.0
    assert difference[1].item() > 1e-3
    embeddings[..., 0].sum().backward()
    assert all(parameter.grad is not None for parameter in resampler.parameters())
    per_layer = 2 * 2 * 8 + 4 * (8 * 8 + 8) + 2 * 8 + 2 * 4 * 8 * 8 + 4 * 8 + 8
    assert sum(p.numel() for p in resampler.parameters()) == 2 * per_layer + (6 * 8 + 8) + 3 * 8 + 2 * 8


def test_heads_must_divide() -> None:
    with pytest.raises(ConfigError, match="num_heads"):
        build_resampler(ResamplerConfig(num_heads=3), 6, 8)


@pytest.mark.parametrize("kind", ["cross_attention", "perceiver"])
def test_pretrained_weights(kind: Literal["cross_attention", "perceiver"], tmp_path: Path) -> None:
    config = ResamplerConfig(kind=kind, num_latents=3, num_heads=2, num_layers=2)
    torch.manual_seed(0)
    source = build_resampler(config, 6, 8)
    save_file(source.state_dict(), tmp_path / "resampler.safetensors")
    torch.manual_seed(1)
    loaded = build_resampler(replace(config, pretrained=str(tmp_path)), 6, 8)
    random = build_resampler(config, 6, 8)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in source.state_dict().items())
    assert not torch.equal(random.get_parameter("latents"), loaded.get_parameter("latents"))
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_pretrained_weights_that_cannot_be_used(tmp_path: Path) -> None:
    config = ResamplerConfig(num_latents=3, num_heads=2, pretrained=str(tmp_path))
    file = tmp_path / "resampler.safetensors"
    with pytest.raises(DataError, match=r"resampler\.safetensors: no such file; make it with 'kosmos train-vision'"):
        build_resampler(config, 6, 8)
    save_file(build_resampler(replace(config, pretrained=None), 6, 8).state_dict(), file)
    with pytest.raises(ConfigError, match=r"not the shape that resampler says: size mismatch for latents: .*\[3, 8\]"):
        build_resampler(replace(config, num_latents=4), 6, 8)
    with pytest.raises(ConfigError, match="not the shape that resampler says: size mismatch for dense.weight"):
        build_resampler(config, 5, 8)
    with pytest.raises(ConfigError, match="not the shape that resampler says: Missing key.*layers"):
        build_resampler(replace(config, kind="perceiver"), 6, 8)
    whole = file.read_bytes()
    for damaged in (b"", b"\0" * 20, whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"resampler\.safetensors: damaged weights: \w"):
            build_resampler(config, 6, 8)
