"""CLIP folders as towers for training: whole models and towers alone, both activations, equal features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionModel

from kosmos.config import ModelConfig
from kosmos.config_files import config_from_mapping, parse_yaml
from kosmos.errors import ConfigError, DataError, StorageError, UsageError
from kosmos.interop import clip_folder
from kosmos.interop.clip_folder import import_clip
from kosmos.model.clip_tower import load_clip
from kosmos.model.kosmos import Kosmos
from tests.model.their_configs import small_clip_config
from tests.model.tiny import shake

WEIGHTS = "model.safetensors"


def write_clip(folder: Path, activation: str = "quick_gelu", whole: bool = False, half: bool = False) -> None:
    torch.manual_seed(1)
    model: Any
    if whole:
        text = CLIPTextConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=9
        )
        model = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=small_clip_config(activation).to_dict()))
    else:
        model = CLIPVisionModel(small_clip_config(activation))
    shake(model)
    (model.half() if half else model).save_pretrained(folder)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_the_tower_is_what_a_recipe_starts_from(whole: bool, activation: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip", activation, whole)
    said: list[str] = []
    part = import_clip(tmp_path / "clip", tmp_path / "tower", say=said.append)
    (check,) = [line for line in said if line.startswith("check: features of both sides differ by at most ")]
    assert check.endswith(" (3 pictures), relative to the largest feature, or to 1; the limit is 1e-05")
    assert f"activation {activation}" in said[0]
    stored = load_file(tmp_path / "tower" / WEIGHTS)
    assert not any(name.startswith("text") for name in stored)
    given = parse_yaml(part)["model"]["vision"]
    assert (given["pretrained"], given["activation"], given["num_layers"]) == (str(tmp_path / "tower"), activation, 3)

    sizes = {"num_layers": 1, "hidden_size": 16, "ffn_size": 32, "num_heads": 2, "vocab_size": 30}
    model_part = {"decoder": sizes, "vision": given, "resampler": {"num_latents": 3, "num_heads": 2}}
    model = Kosmos(config_from_mapping(model_part, ModelConfig))
    tower = {name: p for name, p in model.state_dict().items() if name.startswith("encoders.image.vision.")}
    theirs = CLIPVisionModel.from_pretrained(tmp_path / "clip", dtype=torch.float32).state_dict()
    assert len(tower) == len(theirs) == len(stored)
    assert torch.equal(
        tower["encoders.image.vision.layers.2.mlp.fc1.weight"], theirs["encoder.layers.2.mlp.fc1.weight"]
    )
    named = {name.removeprefix("vision_model."): tensor for name, tensor in stored.items()}
    assert named.keys() == theirs.keys()
    assert all(torch.equal(named[name], theirs[name]) for name in theirs)


def test_half_precision_and_preprocessing(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip", half=True)
    preprocessing = {"size": {"shortest_edge": 28}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}
    (tmp_path / "clip" / "preprocessor_config.json").write_text(json.dumps(preprocessing), encoding="utf-8")
    said: list[str] = []
    part = import_clip(tmp_path / "clip", tmp_path / "tower", say=said.append)
    assert all(tensor.dtype == torch.float32 for tensor in load_file(tmp_path / "tower" / WEIGHTS).values())
    given = parse_yaml(part)["model"]["vision"]
    assert (given["image_mean"], given["image_std"]) == ([0.5, 0.4, 0.3], [0.2, 0.2, 0.2])
    assert any("crops pictures" in line for line in said)


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip", "gelu_new")
    with pytest.raises(ConfigError, match="hidden_act 'gelu_new' is not supported, only quick_gelu, gelu"):
        import_clip(tmp_path / "clip", tmp_path / "tower", say=lambda line: None)
    assert not (tmp_path / "tower").exists()


def test_missing_and_damaged_weights(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    file = tmp_path / "clip" / WEIGHTS
    data = file.read_bytes()
    file.write_bytes(data[:-50])
    with pytest.raises(StorageError, match="cannot load the CLIP weights"):
        import_clip(tmp_path / "clip", tmp_path / "tower", say=lambda line: None)
    file.unlink()
    with pytest.raises(StorageError, match="cannot load the CLIP weights"):
        import_clip(tmp_path / "clip", tmp_path / "tower", say=lambda line: None)
    assert {path.name for path in tmp_path.iterdir()} == {"clip"}


@pytest.mark.parametrize("zipped", [True, False])
def test_more_than_tensors_is_not_read_and_nobody_is_told_to(zipped: bool, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    (tmp_path / "clip" / WEIGHTS).unlink()
    file = tmp_path / "clip" / "pytorch_model.bin"
    torch.save({"a": Path("x")}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(StorageError, match="more than tensors, which is not read as it may run code") as raised:
        import_clip(tmp_path / "clip", tmp_path / "tower", say=lambda line: None)
    assert "weights_only" not in str(raised.value) and "can still be loaded" not in str(raised.value)
    assert not (tmp_path / "tower").exists()


def test_the_check_sees_another_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "clip")
    right = load_clip

    def harmed(*given: Any) -> Any:
        tower = right(*given)
        with torch.no_grad():
            tower.get_parameter("layers.1.mlp.fc2.weight").mul_(1.05)
        return tower

    monkeypatch.setattr(clip_folder, "load_clip", harmed)
    with pytest.raises(DataError, match="the tower's features differ by"):
        import_clip(tmp_path / "clip", tmp_path / "tower", say=lambda line: None)
    assert {path.name for path in tmp_path.iterdir()} == {"clip"}


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    (tmp_path / "tower").mkdir()
    (tmp_path / "tower" / "mine").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="tower: exists already"):
        import_clip(tmp_path / "clip", tmp_path / "tower", say=lambda line: None)


def test_an_index_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    names = load_file(tmp_path / "clip" / WEIGHTS)
    (tmp_path / "clip" / WEIGHTS).rename(tmp_path / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../elsewhere.safetensors")}
    (tmp_path / "clip" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(StorageError, match=r"names a file outside of its folder: \.\./elsewhere"):
        import_clip(tmp_path / "clip", tmp_path / "tower")
    assert not (tmp_path / "tower").exists()


def test_a_configuration_of_wrong_types_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    file = tmp_path / "clip" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": "two"}))
    with pytest.raises(DataError, match="no CLIP configuration here"):
        import_clip(tmp_path / "clip", tmp_path / "tower")
