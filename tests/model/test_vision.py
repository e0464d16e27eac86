"""The vision towers: parity with transformers' CLIP, what trains and what stays, loading and its errors."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModel

from kosmos.config import VisionConfig
from kosmos.errors import ConfigError, DataError, StorageError, UsageError
from kosmos.model.clip_tower import ClipTower
from kosmos.model.vision import build_vision, resolve_vision
from tests.model.their_configs import small_clip_config
from tests.model.tiny import shake

SMALL = VisionConfig(image_size=28, hidden_size=24, num_layers=3, num_heads=4, ffn_size=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a vision tower alone."""
    torch.manual_seed(0)
    theirs = CLIPVisionModel(small_clip_config())
    shake(theirs)
    made = tmp_path_factory.mktemp("clip") / "vision"
    theirs.save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a whole CLIP model, text tower and projections too, with LAION's activation."""
    torch.manual_seed(1)
    text = CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=9
    )
    theirs = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=small_clip_config("gelu").to_dict()))
    made = tmp_path_factory.mktemp("clip") / "whole"
    theirs.save_pretrained(made)
    return made


def _pixels(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_every_layer_and_the_features_equal_clip(folder: Path) -> None:
    theirs: Any = CLIPVisionModel.from_pretrained(folder).eval()
    tower: Any = build_vision(replace(SMALL, pretrained=str(folder)))
    output = theirs(_pixels(), output_hidden_states=True)
    hidden = tower.pre_layernorm(tower.embeddings(_pixels()))
    for index, layer in enumerate(tower.layers):
        torch.testing.assert_close(hidden, output.hidden_states[index], rtol=1e-5, atol=1e-5)
        hidden = layer(hidden, attention_mask=None)
    wanted = F.normalize(theirs.post_layernorm(output.last_hidden_state), dim=-1)
    found = tower(_pixels())
    assert found.shape == (2, tower.num_positions, tower.hidden_size) == (2, 5, 24)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 5))


def test_gradients_in_the_last_block_and_norm_only(folder: Path) -> None:
    tower: Any = build_vision(replace(SMALL, pretrained=str(folder))).train()
    theirs: Any = CLIPVisionModel.from_pretrained(folder)
    direction = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(4))
    (tower(_pixels()) * direction).sum().backward()
    hidden = theirs(_pixels()).last_hidden_state
    (F.normalize(theirs.post_layernorm(hidden), dim=-1) * direction).sum().backward()
    for name, parameter in tower.named_parameters():
        last = name.startswith(("layers.2.", "post_layernorm."))
        assert parameter.requires_grad == last, name
        assert (parameter.grad is not None) == last, name
        if last:
            theirs_name = f"encoder.{name}" if name.startswith("layers") else name
            wanted = theirs.get_parameter(theirs_name).grad
            torch.testing.assert_close(parameter.grad, wanted, rtol=1e-5, atol=1e-5)
    assert not tower.training and not tower.layers[2].training


@pytest.mark.parametrize(("trainable", "count"), [("all", 55), ("none", 0), ("last_layer", 18)])
def test_trainable(trainable: Any, count: int) -> None:
    tower = build_vision(replace(SMALL, trainable=trainable), random_vision=True).train()
    assert sum(p.requires_grad for p in tower.parameters()) == count
    assert tower.training == (trainable == "all")


def test_whole_clip_folder_gives_its_vision_part(whole_folder: Path) -> None:
    config = replace(SMALL, pretrained=str(whole_folder))
    assert resolve_vision(config).activation == "gelu"
    tower: Any = build_vision(config)
    stored = load_file(whole_folder / "model.safetensors")
    assert torch.equal(tower.post_layernorm.weight, stored["vision_model.post_layernorm.weight"])
    fc1 = stored["vision_model.encoder.layers.1.mlp.fc1.weight"]
    assert torch.equal(tower.layers[1].mlp.fc1.weight, fc1)
    theirs: Any = CLIPModel.from_pretrained(whole_folder).eval().vision_model
    with torch.no_grad():
        wanted = F.normalize(theirs.post_layernorm(theirs(_pixels()).last_hidden_state), dim=-1)
        torch.testing.assert_close(tower(_pixels()), wanted, rtol=1e-5, atol=1e-5)
    assert tower.layers[0].mlp.activation_fn(torch.ones(1)).item() == pytest.approx(0.8413, abs=1e-4)


def test_random_frozen_tower_is_refused() -> None:
    with pytest.raises(UsageError, match="--random-vision"):
        build_vision(SMALL)
    with pytest.raises(UsageError, match="--random-vision"):
        build_vision(replace(SMALL, trainable="none"))
    assert isinstance(build_vision(replace(SMALL, trainable="all")), ClipTower)
    assert isinstance(build_vision(SMALL, random_vision=True), ClipTower)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_size", 32), ("num_layers", 2), ("image_size", 42), ("patch_size", 7), ("ffn_size", 96)],
)
def test_config_mismatch_names_the_key(folder: Path, field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"vision.{field}"):
        build_vision(replace(SMALL, **{"pretrained": str(folder), field: value}))  # type: ignore[arg-type]


def test_damaged_and_missing_folders(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="nowhere"):
        build_vision(replace(SMALL, pretrained=str(tmp_path / "nowhere")))
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    config = replace(SMALL, pretrained=str(tmp_path))
    with pytest.raises(StorageError, match="cannot load"):
        build_vision(config)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:400])
    with pytest.raises(StorageError, match="cannot load"):
        build_vision(config)
    tensors = load_file(folder / "model.safetensors")
    (gone,) = [name for name in tensors if name.endswith("layers.1.mlp.fc2.bias")]
    del tensors[gone]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="1 tensors missing, 0 unknown .*layers.1.mlp.fc2.bias"):
        build_vision(config)


def test_half_precision_files_are_held_in_fp32(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tower = build_vision(replace(SMALL, pretrained=str(tmp_path)))
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.float32}


def test_vit_l_14_folder_loads_whole(tmp_path: Path) -> None:
    """OpenAI's published folder by names and shapes: all 24 blocks, the text tower beside them, fp16 zeros."""
    with torch.device("meta"):
        text = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        vision = CLIPVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14
        )
        theirs = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=768))
    shapes = {name: list(tensor.shape) for name, tensor in theirs.state_dict().items()}
    assert len([name for name in shapes if name.startswith("vision_model.")]) == 391
    shapes["vision_model.embeddings.position_ids"] = [1, 257]  # a relic of old files
    _write_zeros(tmp_path / "model.safetensors", shapes)
    (tmp_path / "config.json").write_text(json.dumps(theirs.config.to_dict()))
    tower = build_vision(VisionConfig(pretrained=str(tmp_path)))
    assert sum(parameter.numel() for parameter in tower.parameters()) == 303_179_776
    # All zeros: no tensor was left at its random value.
    assert max(parameter.abs().max().item() for parameter in tower.parameters()) == 0.0
    trainable = sum(parameter.numel() for parameter in tower.parameters() if parameter.requires_grad)
    assert trainable == 12_596_224 + 2_048


def _write_zeros(file: Path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file of fp16 zeros as a sparse file, so that it takes no room on the disk."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        opened.truncate(8 + len(text) + offset)
    with safe_open(file, framework="pt") as stored:
        assert len(stored.keys()) == len(shapes)
