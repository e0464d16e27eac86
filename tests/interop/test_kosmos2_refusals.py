"""What of Kosmos-2 folders and of our models is refused, each with its reason; and other forms of stored weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import Kosmos2ForConditionalGeneration

from kosmos.config import ModelConfig, VisionConfig
from kosmos.config import replace as change
from kosmos.errors import ConfigError, DataError, KosmosError, StorageError, UsageError
from kosmos.interop.kosmos2.config import kosmos2_config, reasons_against_kosmos2
from kosmos.interop.kosmos2.conversion import export_kosmos2, import_kosmos2
from kosmos.interop.kosmos2.names import BUFFERS, EMBEDDING, TIED_HEAD
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.interop.kosmos2_folder import (
    WEIGHTS,
    Folders,
    edit_json,
    edit_weights,
    nothing_but,
)
from tests.model.tiny import tiny_config


def test_shards_and_pickled_tensors_are_read_as_well(kosmos2_folders: Folders, tmp_path: Path) -> None:
    model = Kosmos2ForConditionalGeneration.from_pretrained(kosmos2_folders.theirs)
    want = (kosmos2_folders.ours / WEIGHTS).read_bytes()
    for name in ("shards", "bin"):
        folder = Path(shutil.copytree(kosmos2_folders.theirs, tmp_path / name))
        (folder / WEIGHTS).unlink()
        if name == "shards":
            model.save_pretrained(folder, max_shard_size="60KB")
            assert len(list(folder.glob("model-*.safetensors"))) > 1
        else:
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
        import_kosmos2(folder, tmp_path / f"{name}-out", say=lambda line: None)
        assert (tmp_path / f"{name}-out" / WEIGHTS).read_bytes() == want


def test_a_missing_shard_is_named(kosmos2_folders: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(kosmos2_folders.theirs, tmp_path / "shards"))
    model = Kosmos2ForConditionalGeneration.from_pretrained(kosmos2_folders.theirs)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    sorted(folder.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(DataError, match=r"model-00002-of-\d+.safetensors: missing, model.safetensors.index.json lists"):
        import_kosmos2(folder, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path, "shards")


def test_a_pickle_with_code_is_not_run(kosmos2_copy: Path, tmp_path: Path) -> None:
    (kosmos2_copy / WEIGHTS).unlink()
    marker = tmp_path / "ran"
    torch.save({"x": _Touches(marker)}, kosmos2_copy / "pytorch_model.bin")
    with pytest.raises(StorageError, match=r"pytorch_model.bin: cannot read the weights"):
        import_kosmos2(kosmos2_copy, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path, "copy")


class _Touches:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_half_precision_is_widened(kosmos2_copy: Path, tmp_path: Path) -> None:
    def halve(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.half() for name, tensor in tensors.items()})

    edit_weights(kosmos2_copy, halve)
    import_kosmos2(kosmos2_copy, tmp_path / "out", say=lambda line: None)
    stored = load_file(tmp_path / "out" / WEIGHTS)
    assert all(tensor.dtype == torch.float32 for tensor in stored.values())
    assert torch.equal(stored["decoder.embedding.weight"], load_file(kosmos2_copy / WEIGHTS)[EMBEDDING].float())


def test_stored_buffers_and_a_tied_head_are_left_out(
    kosmos2_folders: Folders, kosmos2_copy: Path, tmp_path: Path
) -> None:
    def add(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: torch.zeros(2) for name in BUFFERS})
        tensors[TIED_HEAD] = tensors[EMBEDDING].clone()

    edit_weights(kosmos2_copy, add)
    import_kosmos2(kosmos2_copy, tmp_path / "out", say=lambda line: None)
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (kosmos2_folders.ours / WEIGHTS).read_bytes()


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda t: t.pop("text_model.model.layer_norm.bias"), DataError, r"1 tensors missing, 0 too many \(text_model"),
        (lambda t: t.update({"text_model.extra": torch.zeros(1)}), DataError, "text_model.extra: a tensor that"),
        (
            lambda t: t.update({"image_to_text_projection.latent_query": torch.zeros(3, 32)}),
            DataError,
            r"latent_query is \[3, 32\], but config.json says \[4, 32\]",
        ),
        (lambda t: t.update({TIED_HEAD: t[EMBEDDING] + 1}), ConfigError, "is not the embedding matrix"),
        (
            lambda t: t.update({EMBEDDING: t[EMBEDDING].to(torch.int8)}),
            DataError,
            "is of type torch.int8; weights are float32",
        ),
    ],
    ids=["missing", "unknown", "shape", "untied", "type"],
)
def test_weights_that_do_not_fit_are_refused(
    edit: Callable[[dict[str, Tensor]], object],
    error: type[KosmosError],
    message: str,
    kosmos2_copy: Path,
    tmp_path: Path,
) -> None:
    edit_weights(kosmos2_copy, edit)
    with pytest.raises(error, match=message):
        import_kosmos2(kosmos2_copy, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path, "copy")


def test_damaged_weights_and_damaged_configurations_are_named(kosmos2_copy: Path, tmp_path: Path) -> None:
    data = (kosmos2_copy / WEIGHTS).read_bytes()
    (kosmos2_copy / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(StorageError, match=r"model.safetensors: cannot read the weights"):
        import_kosmos2(kosmos2_copy, tmp_path / "out", say=lambda line: None)
    (kosmos2_copy / WEIGHTS).unlink()
    with pytest.raises(DataError, match=r"no weights here: neither model.safetensors, "):
        import_kosmos2(kosmos2_copy, tmp_path / "out", say=lambda line: None)
    edit_json(kosmos2_copy / "config.json", lambda c: c["text_config"].update(layers="two"))
    with pytest.raises(DataError, match=r"config.json: not a configuration of Kosmos-2"):
        import_kosmos2(kosmos2_copy, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path, "copy")


def test_everything_that_ours_lacks_is_refused_at_once(kosmos2_copy: Path, tmp_path: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["text_config"] |= {"activation_function": "relu", "scale_embedding": False, "pad_token_id": 5}
        config["vision_config"] |= {"hidden_act": "gelu_new", "num_channels": 4}

    edit_json(kosmos2_copy / "config.json", edit)
    with pytest.raises(ConfigError) as caught:
        import_kosmos2(kosmos2_copy, tmp_path / "out", say=lambda line: None)
    message = str(caught.value)
    for reason in ("activation_function is 'relu'", "scale_embedding is False", "pad_token_id is 5", "'gelu_new'"):
        assert reason in message
    assert "num_channels is 4" in message
    assert nothing_but(tmp_path, "copy")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"decoder.position": "xpos"}, "decoder.position is xpos, Kosmos-2 adds sinusoidal positions"),
        ({"decoder.sub_ln": False}, "decoder.sub_ln is false"),
        ({"vision": None}, "vision is null, Kosmos-2 always has a vision tower"),
        ({"vision": VisionConfig(kind="conv", channels=(8, 16))}, "vision.kind is conv, Kosmos-2's tower is CLIP's"),
        ({"resampler.kind": "perceiver"}, "resampler.kind is perceiver, Kosmos-2 has one cross-attention"),
        ({"resampler.num_heads": 2}, "resampler.num_heads is 2, Kosmos-2 takes the decoder's 4 for both"),
        ({"extra_modalities": ("speech",)}, "extra_modalities speech: Kosmos-2 reads text and pictures only"),
    ],
)
def test_what_kosmos2_lacks_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    config = tiny_config(**{"decoder.position": "sinusoidal"} | changes)
    (found,) = reasons_against_kosmos2(config)
    assert reason in found
    with pytest.raises(ConfigError, match="cannot be expressed as Kosmos-2: "):
        kosmos2_config(config)


def test_all_reasons_come_at_once() -> None:
    config: ModelConfig = change(
        tiny_config(),
        **{"decoder.sub_ln": False, "resampler.kind": "perceiver", "resampler.num_heads": 8, "vision.kind": "conv"},
    )
    assert len(reasons_against_kosmos2(replace(config, extra_modalities=("speech",)))) == 6
    assert reasons_against_kosmos2(tiny_config(**{"decoder.position": "sinusoidal"})) == []


def test_an_xpos_model_is_refused_and_leaves_nothing(kosmos2_folders: Folders, tmp_path: Path) -> None:
    config = tiny_config(**{"decoder.vocab_size": kosmos2_folders.tokenizer.vocab_size})
    Kosmos(config, random_vision=True).save_pretrained(tmp_path / "xpos", Processor(kosmos2_folders.tokenizer, config))
    with pytest.raises(ConfigError, match="decoder.position is xpos, Kosmos-2 adds sinusoidal positions and rotates"):
        export_kosmos2(tmp_path / "xpos", tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path, "xpos")


def test_an_existing_folder_is_not_touched(kosmos2_folders: Folders, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    for convert, source in ((import_kosmos2, kosmos2_folders.theirs), (export_kosmos2, kosmos2_folders.ours)):
        with pytest.raises(UsageError, match="out: exists already; choose another folder"):
            convert(source, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
