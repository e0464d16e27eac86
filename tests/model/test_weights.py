"""A model on disk: round trip, what travels along, and every way it can be wrong."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel

from kosmos.config import ModelConfig
from kosmos.errors import ConfigError, DataError, KosmosError, StorageError, UsageError
from kosmos.model.kosmos import Kosmos
from tests.model.tiny import shake, tiny_batch, tiny_config, tiny_model


class Note:
    """Stands for a processor: one file."""

    def save(self, folder: Path) -> None:
        (folder / "tokenizer.model").write_bytes(b"pieces")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model().save_pretrained(tmp_path / "model", Note())
    return tmp_path / "model"


VARIANTS: list[dict[str, Any]] = [
    {},
    {"decoder.position": "sinusoidal", "resampler.kind": "perceiver"},
    {"vision.kind": "conv", "vision.channels": (8, 24), "vision.norm": "batch", "vision.trainable": "all"},
    {"vision": None},
]


@torch.no_grad()
@pytest.mark.parametrize("changes", VARIANTS, ids=["clip", "perceiver", "conv", "text"])
def test_round_trip(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = tiny_model(**changes)
    model.save_pretrained(tmp_path / "new" / "model")
    again = Kosmos.from_pretrained(tmp_path / "new" / "model")
    assert again.config == model.config == tiny_config(**changes)
    batch = tiny_batch(["ttt"] if "vision" in changes else ["titit"])
    assert torch.equal(again(batch), model(batch))
    assert torch.equal(again.head(again(batch)), model.head(model(batch)))
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert {name: parameter.requires_grad for name, parameter in again.named_parameters()} == flags
    assert not any(tensor.is_meta for tensor in [*again.parameters(), *again.buffers()])
    assert not again.training


def test_layout(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == ["config.yaml", "model.safetensors", "tokenizer.model"]
    tensors = load_file(folder / "model.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"decoder", "encoders"}
    assert {".".join(name.split(".")[:3]) for name in tensors if name.startswith("encoders")} == {
        "encoders.image.vision",
        "encoders.image.resampler",
    }
    # The tied matrix is there once.
    assert [name for name, tensor in tensors.items() if tensor.shape == (120, 32)] == ["decoder.embedding.weight"]
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    with safe_open(folder / "model.safetensors", framework="pt") as stored:
        assert stored.metadata()["kosmos_format"] == "1"
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1


def test_saving_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    Kosmos.from_pretrained(folder).save_pretrained(tmp_path / "again", Note())
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


@torch.no_grad()
def test_model_with_pretrained_tower_needs_its_folder_only_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=28,
            patch_size=14,
            hidden_act="gelu",
        )
    )
    shake(theirs)
    theirs.save_pretrained(tmp_path / "clip")
    model = Kosmos(tiny_config(**{"vision.pretrained": str(tmp_path / "clip")})).eval()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "clip").rename(tmp_path / "gone")
    again = Kosmos.from_pretrained(tmp_path / "model")
    assert again.config.vision is not None
    assert again.config.vision.activation == "gelu"
    assert again.config.vision.pretrained == str(tmp_path / "clip")
    batch = tiny_batch(["tit"])
    assert torch.equal(again(batch), model(batch))
    stored = load_file(tmp_path / "model" / "model.safetensors")
    weight = theirs.state_dict()["encoder.layers.0.mlp.fc1.weight"]
    assert torch.equal(stored["encoders.image.vision.layers.0.mlp.fc1.weight"], weight)


def test_nothing_is_written_over(folder: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(UsageError, match="exists already"):
        tiny_model(seed=1).save_pretrained(folder)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        tiny_model().save_pretrained(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    tiny_model().save_pretrained(tmp_path / "empty")
    assert Kosmos.from_pretrained(tmp_path / "empty").config == tiny_config()


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    class FullDisk:
        def save(self, folder: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device"):
        tiny_model().save_pretrained(tmp_path / "model", FullDisk())
    assert list(tmp_path.iterdir()) == []


def _truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _reshape(folder: Path) -> None:
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("ffn_size: 64", "ffn_size: 80"))


def _more_layers(folder: Path) -> None:
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("num_layers: 2", "num_layers: 3", 1))


def _newer(folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file(load_file(file), file, metadata={"format": "pt", "kosmos_format": "2"})


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_truncate, StorageError, "damaged weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), StorageError, "damaged weights"),
        (lambda f: (f / "model.safetensors").unlink(), DataError, "model.safetensors is missing"),
        (lambda f: (f / "config.yaml").unlink(), DataError, "config.yaml is missing"),
        (lambda f: (f / "config.yaml").write_text("decoder: {hiden_size: 3}"), ConfigError, "hiden_size"),
        (_reshape, ConfigError, r"fc1.* is \[64"),
        (_more_layers, ConfigError, "20 tensors missing, 0 unknown"),
        (_newer, DataError, "format version 2"),
    ],
)
def test_what_cannot_be_read_says_so(folder: Path, damage: Any, error: type[KosmosError], message: str) -> None:
    damage(folder)
    with pytest.raises(error, match=message) as caught:
        Kosmos.from_pretrained(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_full_size_skeleton_takes_no_memory() -> None:
    from kosmos.model.weights import without_values

    model = without_values(Kosmos, ModelConfig())
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_662_375_936
