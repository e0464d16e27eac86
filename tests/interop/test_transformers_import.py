"""Folders that come back from transformers: tuned, in halves, and wrong ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kosmos.errors import ConfigError, DataError, KosmosError
from kosmos.interop.transformers.exporting import export_folder
from kosmos.interop.transformers.importing import import_exported
from kosmos.tokenizer import Tokenizer
from tests.interop.kosmos2_folder import edit_json, edit_weights, nothing_but
from tests.interop.twins import make_twins

WEIGHTS = "model.safetensors"
EMBEDDING = "model.language_model.embed_tokens.weight"

pytestmark = pytest.mark.usefixtures("code_cache")


@pytest.fixture(scope="module")
def exported(tokenizer: Tokenizer, code_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("exported")
    twins = make_twins(tokenizer, "xpos-conv")
    twins.ours.save_pretrained(base / "native", twins.processor)
    export_folder(base / "native", base / "folder")
    return base / "folder"


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """The exported folder, to be changed."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_halves_are_widened(half: torch.dtype, copy: Path, tmp_path: Path) -> None:
    tensors = {name: t.to(half) if t.is_floating_point() else t for name, t in load_file(copy / WEIGHTS).items()}
    save_file(tensors, copy / WEIGHTS, metadata={"format": "pt"})
    said: list[str] = []
    import_exported(copy, tmp_path / "out", say=said.append)
    stored = load_file(tmp_path / "out" / WEIGHTS)
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float32}
    assert torch.equal(stored["decoder.embedding.weight"], tensors[EMBEDDING].float())
    assert said[-1].startswith("check: logits of both sides differ by at most ")


def test_the_check_is_left_out_only_aloud(copy: Path, tmp_path: Path) -> None:
    said: list[str] = []
    import_exported(copy, tmp_path / "out", check=False, say=said.append)
    assert said == ["warning: the check of both sides' logits was left out (--skip-check)"]


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda t: t.pop("model.language_model.norm.bias"), DataError, r"1 tensors missing, 0 too many \(model.lang"),
        (lambda t: t.update({"adapter.extra": torch.zeros(1)}), DataError, "adapter.extra: a weight that a KOSMOS-1"),
        (
            lambda t: t.update({"model.language_model.norm.bias": torch.zeros(3)}),
            DataError,
            r"model.language_model.norm.bias is \[3\], but config.json says",
        ),
        (
            lambda t: t.update({EMBEDDING: t[EMBEDDING].to(torch.int8)}),
            DataError,
            "is of type torch.int8; weights are float32, or half of it",
        ),
        (lambda t: t.update({"lm_head.weight": t[EMBEDDING] + 1}), ConfigError, "is not the embedding matrix"),
    ],
    ids=["missing", "unknown", "shape", "type", "untied"],
)
def test_weights_that_do_not_fit_are_refused(
    edit: Callable[[dict[str, Tensor]], object], error: type[KosmosError], message: str, copy: Path, tmp_path: Path
) -> None:
    edit_weights(copy, edit)
    with pytest.raises(error, match=message):
        import_exported(copy, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path, "copy")


@pytest.mark.parametrize(
    ("file", "edit", "error", "message"),
    [
        ("config.json", lambda c: c["text_config"].update(hidden_act="relu"), ConfigError, "hidden_act is 'relu'"),
        ("config.json", lambda c: c["text_config"].update(hidden_dropout={}), KosmosError, "config.json: "),
        ("config.json", lambda c: c["text_config"].update(num_hidden_layers=-1), KosmosError, "config.json: "),
        ("config.json", lambda c: c.update(projector_type="linear"), DataError, "projector_type is 'linear'"),
        ("config.json", lambda c: c["vision_config"].update(channels=5), DataError, "not a configuration of this"),
        ("config.json", lambda c: c.update(image_token_id=7), DataError, "image_token_id is 7, but the tokenizer"),
        ("tokenizer_config.json", lambda c: c.update(extra_specials=[3]), DataError, "it is a list of tokens"),
        (
            "processor_config.json",
            lambda c: c["image_processor"].update(image_std=[1, 1]),
            DataError,
            "image_std is .*; it is three numbers",
        ),
        ("processor_config.json", lambda c: c.pop("image_processor"), DataError, "save the processor beside the model"),
        ("generation_config.json", lambda c: c.update(suppress_tokens=[[]]), DataError, "transformers cannot load it"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    file: str,
    edit: Callable[[dict[str, Any]], object],
    error: type[KosmosError],
    message: str,
    copy: Path,
    tmp_path: Path,
) -> None:
    edit_json(copy / file, edit)
    with pytest.raises(error, match=message):
        import_exported(copy, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path, "copy")


def test_code_in_the_folder_is_not_run(copy: Path, tmp_path: Path) -> None:
    for file in copy.glob("*.py"):
        file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + file.read_text())
    assert "modeling_kosmos" in json.loads((copy / "config.json").read_text())["auto_map"]["AutoModel"]
    import_exported(copy, tmp_path / "out", say=lambda line: None)
    assert nothing_but(tmp_path, "copy", "out")
