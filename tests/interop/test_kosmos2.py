"""Kosmos-2 folders of transformers in and out: logits, tensors to the bit, refusals, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoProcessor, Kosmos2Config, Kosmos2ForConditionalGeneration

import kosmos
from kosmos.errors import DataError, UsageError
from kosmos.interop.kosmos2 import conversion
from kosmos.interop.kosmos2.config import kosmos2_config, native_config
from kosmos.interop.kosmos2.conversion import export_kosmos2, import_kosmos2, kosmos2_logits
from kosmos.interop.kosmos2.names import PREFIXES, TIED_HEAD, kosmos2_name, native_name
from kosmos.interop.self_check import make_probes, native_logits
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.interop.kosmos2_folder import (
    IMAGE_SIZE,
    NUM_LATENTS,
    PATCHES,
    WEIGHTS,
    Folders,
    edit_json,
    nothing_but,
    small_model,
    write_kosmos2,
)
from tests.model.their_configs import small_kosmos2_config


def test_logits_are_equal_with_no_one_and_three_pictures(kosmos2_folders: Folders) -> None:
    probes = make_probes(Processor.load(kosmos2_folders.ours))
    assert [0 if not p.batch.inputs else len(p.batch.inputs["image"].features) for p in probes] == [0, 1, 3]
    wanted = kosmos2_logits(kosmos2_folders.theirs, probes)
    for made in (native_logits(kosmos2_folders.ours, probes), kosmos2_logits(kosmos2_folders.again, probes)):
        for one, other in zip(wanted, made):
            assert one.std() > 0.1
            torch.testing.assert_close(other, one, rtol=0, atol=1e-5)
    # A picture changes what follows it, so that a lost one would show.
    assert (wanted[1][-1] - wanted[0][-1]).abs().max() > 1e-3


def test_the_largest_difference_is_told(kosmos2_folders: Folders) -> None:
    checks = [
        line for line in kosmos2_folders.said if line.startswith("check: logits of both sides differ by at most ")
    ]
    assert len(checks) == 2
    assert all(float(line.split()[9]) <= 1e-5 for line in checks)
    assert all("three pictures" in line for line in checks)


def test_tensors_pass_both_ways_to_the_bit(kosmos2_folders: Folders) -> None:
    first, last = load_file(kosmos2_folders.theirs / WEIGHTS), load_file(kosmos2_folders.again / WEIGHTS)
    assert first.keys() == last.keys()
    assert len(first) == 93
    assert all(torch.equal(first[name], last[name]) for name in first)


def test_configuration_and_processor_come_back_as_they_were(kosmos2_folders: Folders) -> None:
    first, last = (
        json.loads((folder / "config.json").read_text()) for folder in (kosmos2_folders.theirs, kosmos2_folders.again)
    )
    assert first == last
    assert (kosmos2_folders.theirs / "tokenizer.json").read_bytes() == (
        kosmos2_folders.again / "tokenizer.json"
    ).read_bytes()
    ends = json.loads((kosmos2_folders.again / "generation_config.json").read_text())
    assert (ends["bos_token_id"], ends["pad_token_id"], ends["eos_token_id"]) == (0, 1, 2)


def test_imported_files_are_those_of_every_model_folder_and_a_card(kosmos2_folders: Folders) -> None:
    names = {path.name for path in kosmos2_folders.ours.iterdir()}
    assert names == {
        *("config.yaml", WEIGHTS, "processor.yaml", "tokenizer.model", "tokenizer.yaml", "README.md"),
    }
    processor = Processor.load(kosmos2_folders.ours)
    assert processor.tokenizer.vocab_size == kosmos2_folders.tokenizer.vocab_size + 6 + PATCHES
    assert processor.tokenizer.special_id("<phrase>") == kosmos2_folders.tokenizer.vocab_size
    assert processor.tokenizer.special_id("<patch_index_0002>") == processor.tokenizer.vocab_size - 1
    assert processor.config.decoder.position == "sinusoidal"


@pytest.mark.parametrize("size", [65_037, 64_007])
def test_full_shape_maps_both_ways_on_the_meta_device(size: int) -> None:
    with torch.device("meta"):
        theirs = Kosmos2ForConditionalGeneration(Kosmos2Config(text_config={"vocab_size": size}, vision_config={}))
        ours = Kosmos(native_config(theirs.config), random_vision=True)
        back = Kosmos2ForConditionalGeneration(kosmos2_config(ours.config))
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    native = {native_name(name): shape for name, shape in shapes.items() if native_name(name) is not None}
    assert native == {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert len(native) == 885
    returned = {kosmos2_name(name): tensor.shape for name, tensor in ours.state_dict().items()}
    assert returned | {TIED_HEAD: shapes[TIED_HEAD]} == shapes
    assert {name: tensor.shape for name, tensor in back.state_dict().items()} == shapes
    # kosmos-1's own count, and the same with Kosmos-2's 1,030 further entries of width 2,048.
    assert sum(p.numel() for p in ours.parameters()) == 1_662_375_936 + (size - 64_007) * 2048
    assert all(parameter.is_meta for parameter in ours.parameters())


def test_every_prefix_is_renamed_back() -> None:
    for theirs, ours in PREFIXES:
        name = theirs.replace("#", "17") + "weight"
        assert native_name(name) == ours.replace("#", "17") + "weight"
        assert kosmos2_name(ours.replace("#", "17") + "weight") == name
    with pytest.raises(DataError, match=r"text_model.extra: a tensor that the other side has no name for"):
        native_name("text_model.extra")


def test_generate_gives_what_transformers_generates(kosmos2_folders: Folders, tmp_path: Path) -> None:
    """The whole path: a picture's file through either preprocessing, tokenizer and decoding."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).resize((280, 160)).save(tmp_path / "picture.png")
    engine = kosmos.load(kosmos2_folders.ours)
    ours = kosmos.generate(engine, [tmp_path / "picture.png", "An image of"], max_new_tokens=12)
    model: Any = Kosmos2ForConditionalGeneration.from_pretrained(kosmos2_folders.again)
    processor: Any = AutoProcessor.from_pretrained(kosmos2_folders.again)
    with PIL.Image.open(tmp_path / "picture.png") as picture:
        given = processor(
            text="An image of", images=picture, num_image_tokens=NUM_LATENTS, add_eos_token=False, return_tensors="pt"
        )
    suppressed = engine.forbidden.nonzero().flatten().tolist()
    made = model.generate(**given, max_new_tokens=12, do_sample=False, suppress_tokens=suppressed)
    new = made[0, given["input_ids"].shape[1] :].tolist()
    assert list(ours.token_ids) == new
    assert len(new) >= 3


# What either side computes must be seen: a conversion with one of these errors writes nothing.
def _swap(one: str, other: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    def swapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors | {one: tensors[other], other: tensors[one]}

    return swapped


def _nudge(name: str, by: float) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: tensors | {name: tensors[name] + by}


def _scale(name: str, by: float) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: tensors | {name: tensors[name] * by}


@pytest.mark.parametrize(
    "harm",
    [
        _swap("decoder.layers.0.attention_pre_norm.weight", "decoder.layers.0.ffn_pre_norm.weight"),
        _swap("decoder.layers.1.attention.k_proj.weight", "decoder.layers.1.attention.q_proj.weight"),
        _swap("encoders.image.vision.pre_layernorm.bias", "encoders.image.vision.post_layernorm.bias"),
        _swap("encoders.image.resampler.attention.v_proj.bias", "encoders.image.resampler.attention.out_proj.bias"),
        _nudge("encoders.image.vision.layers.0.mlp.fc1.bias", 1e-2),
        _scale("decoder.layers.1.ffn.fc2.bias", 1.01),
        _nudge("decoder.layer_norm.bias", float("nan")),
    ],
    ids=["norms", "q and k", "vision norms", "resampler", "vision bias", "small bias", "nan"],
)
def test_the_check_sees_a_wrong_conversion(
    harm: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    kosmos2_folders: Folders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = conversion.native_tensors
    monkeypatch.setattr(conversion, "native_tensors", lambda *given, **named: harm(right(*given, **named)))
    with pytest.raises(DataError, match="the converted model's logits differ by .*; nothing was written"):
        import_kosmos2(kosmos2_folders.theirs, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path)


def test_the_check_of_an_export_sees_a_wrong_conversion(
    kosmos2_folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = conversion.kosmos2_tensors
    name = "vision_model.model.post_layernorm.weight"
    monkeypatch.setattr(conversion, "kosmos2_tensors", lambda tensors: right(tensors) | {name: torch.ones(24)})
    with pytest.raises(DataError, match="the converted model's logits differ by"):
        export_kosmos2(kosmos2_folders.ours, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path)


def test_the_check_is_left_out_only_aloud(kosmos2_folders: Folders, tmp_path: Path) -> None:
    said: list[str] = []
    import_kosmos2(kosmos2_folders.theirs, tmp_path / "out", check=False, say=said.append)
    assert said[-1] == "warning: the check of both sides' logits was left out (--skip-check)"


def test_too_little_memory_for_the_check_is_said(
    kosmos2_folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> list[Tensor]:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(conversion, "kosmos2_logits", fails)
    with pytest.raises(UsageError, match="not enough memory to run both sides of the conversion.*--skip-check"):
        import_kosmos2(kosmos2_folders.theirs, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path)


def test_a_truncated_vocabulary_keeps_the_other_logits(kosmos2_folders: Folders, tmp_path: Path) -> None:
    said: list[str] = []
    import_kosmos2(kosmos2_folders.theirs, tmp_path / "out", truncate_vocabulary=True, say=said.append)
    assert any("warning: the last 9 entries of the vocabulary are left out" in line for line in said)
    processor = Processor.load(tmp_path / "out")
    kept = kosmos2_folders.tokenizer.vocab_size
    assert processor.tokenizer.vocab_size == processor.config.decoder.vocab_size == kept
    probes = make_probes(processor)
    for one, other in zip(native_logits(kosmos2_folders.ours, probes), native_logits(tmp_path / "out", probes)):
        torch.testing.assert_close(other, one[:, :kept], rtol=0, atol=1e-6)
        assert one.shape[1] == kept + 9
    with pytest.raises(UsageError, match="has none beyond `</line>`"):
        export_kosmos2(tmp_path / "out", tmp_path / "again", say=said.append)
        import_kosmos2(tmp_path / "again", tmp_path / "twice", truncate_vocabulary=True, say=said.append)
    assert any("6 grounding tokens (<phrase> ...) that this model has no embeddings for" in line for line in said)
    assert not (tmp_path / "twice").exists()


def test_other_eps_and_gelu_towers_pass_too(kosmos2_folders: Folders, tmp_path: Path) -> None:
    write_kosmos2(
        tmp_path / "theirs",
        kosmos2_folders.tokenizer,
        text={"layer_norm_eps": 1e-2},
        vision={"hidden_act": "gelu", "layer_norm_eps": 3e-2},
    )
    said: list[str] = []
    import_kosmos2(tmp_path / "theirs", tmp_path / "ours", say=said.append)
    export_kosmos2(tmp_path / "ours", tmp_path / "again", say=said.append)
    config = Processor.load(tmp_path / "ours").config
    assert config.vision is not None
    assert (config.decoder.layer_norm_eps, config.vision.activation, config.vision.layer_norm_eps) == (
        1e-2,
        "gelu",
        3e-2,
    )
    assert sum(line.startswith("check:") for line in said) == 2


def test_what_acts_in_training_or_generation_alone_is_told(
    kosmos2_folders: Folders, kosmos2_copy: Path, tmp_path: Path
) -> None:
    edit_json(kosmos2_copy / "config.json", lambda c: c["text_config"].update(layerdrop=0.1))
    edit_json(kosmos2_copy / "generation_config.json", lambda c: c.update(no_repeat_ngram_size=3))
    said: list[str] = []
    import_kosmos2(kosmos2_copy, tmp_path / "out", say=said.append)
    assert "note: layerdrop 0.1 acts in training only and is left out" in said
    assert any("no_repeat_ngram_size 3" in line for line in said)


def test_the_random_model_has_no_neutral_parameter() -> None:
    """So that no test above passes by a norm's weight of 1 or a bias of 0."""
    model = small_model(small_kosmos2_config(90))
    assert all(parameter.std() > 0.01 for parameter in model.parameters())
    assert IMAGE_SIZE % 14 == 0
