"""The convolutional tower: shapes, freezing, independence of pictures, weights from a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kosmos.config import VisionConfig
from kosmos.errors import ConfigError, DataError, StorageError
from kosmos.model.conv_tower import ConvTower
from kosmos.model.vision import build_vision

CONFIG = VisionConfig(kind="conv", channels=(8, 16, 32), image_size=48, hidden_size=32)


def _pixels() -> torch.Tensor:
    return torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_features(norm: Any) -> None:
    tower = build_vision(replace(CONFIG, norm=norm), random_vision=True).train()
    features = tower(_pixels())
    assert features.shape == (3, tower.num_positions, tower.hidden_size) == (3, 36, 32)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(3, 36))
    # A picture's features do not depend on its neighbours.
    torch.testing.assert_close(tower(_pixels()[1:2])[0], features[1], rtol=1e-4, atol=1e-5)


def test_positions() -> None:
    tower = build_vision(replace(CONFIG, stem_stride=4, channels=(16, 32)), random_vision=True)
    assert tower.num_positions == 36
    assert tower(_pixels()).shape == (3, 36, 32)


def test_batch_statistics_move_in_pretraining_only() -> None:
    tower = ConvTower(replace(CONFIG, norm="batch", trainable="all"))
    means = {name: value.clone() for name, value in tower.named_buffers() if name.endswith("running_mean")}
    tower.train()(_pixels())
    assert all(torch.equal(tower.get_buffer(name), value) for name, value in means.items())
    tower.train_statistics()
    tower(_pixels())
    assert not any(torch.equal(tower.get_buffer(name), value) for name, value in means.items())


def test_only_the_last_layer_trains() -> None:
    tower = build_vision(CONFIG, random_vision=True).train()
    tower(_pixels())[..., 0].sum().backward()
    for name, parameter in tower.named_parameters():
        assert (parameter.grad is not None) == name.startswith(("last_layer.", "post_layernorm.")), name
    assert not tower.training
    tower = build_vision(replace(CONFIG, trainable="all"))
    tower(_pixels())[..., 0].sum().backward()
    assert all(parameter.grad is not None for parameter in tower.parameters())


def test_pretrained_folder(tmp_path: Path) -> None:
    config = replace(CONFIG, pretrained=str(tmp_path))
    with pytest.raises(DataError, match="no such file"):
        build_vision(config)
    torch.manual_seed(5)
    source = ConvTower(CONFIG)
    save_file(
        {name: tensor.contiguous() for name, tensor in source.state_dict().items()}, tmp_path / "model.safetensors"
    )
    tower = build_vision(config)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tower.state_dict()[name], tensor), name
    with pytest.raises(ConfigError, match="channels"):
        build_vision(replace(config, channels=(8, 8, 32)))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(StorageError, match="damaged"):
        build_vision(config)


@pytest.mark.parametrize("changes", [{"channels": ()}, {"image_size": 50}, {"hidden_size": 40}])
def test_impossible_sizes(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="channels"):
        build_vision(replace(CONFIG, **changes), random_vision=True)  # type: ignore[arg-type]
