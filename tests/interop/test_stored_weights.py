"""Weights as transformers stores them: what is read, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kosmos.errors import DataError, KosmosError, StorageError
from kosmos.interop.stored_json import read_json
from kosmos.interop.stored_weights import check_indexes, read_stored_weights


def write_index(folder: Path, file: Any) -> None:
    save_file({"a": torch.ones(2)}, folder / "part.safetensors")
    index = {"metadata": {}, "weight_map": {"a": file}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_a_part_in_the_folder_is_read_a_link_to_it_too(tmp_path: Path) -> None:
    write_index(tmp_path, "link.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "part.safetensors")
    assert read_stored_weights(tmp_path)["a"].tolist() == [1, 1]
    check_indexes(tmp_path)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("../part.safetensors", r"names a file outside of its folder: \.\./part"),
        ("/etc/passwd", "names a file outside of its folder: /etc/passwd"),
        (5, "damaged: 5 is no name of a file"),
        (None, "damaged: None is no name of a file"),
        ("gone.safetensors", "gone.safetensors: missing, model.safetensors.index.json lists it"),
    ],
)
def test_an_index_names_files_of_its_folder(file: Any, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_index(folder, file)
    (folder / "part.safetensors").rename(tmp_path / "part.safetensors")
    with pytest.raises(KosmosError, match=message):
        read_stored_weights(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": 3}, {"weight_map": None}, {"weight_map": ["a"]}])
def test_an_index_that_is_none(index: Any, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for read in (read_stored_weights, check_indexes):
        with pytest.raises(StorageError, match="damaged: not an index of weights"):
            read(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bin_file_of_any_age_is_read(zipped: bool, tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert read_stored_weights(tmp_path)["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("zipped", [True, False])
def test_more_than_tensors_is_not_read_and_nobody_is_told_to(zipped: bool, tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(StorageError, match="more than tensors, which is not read as it may run code") as raised:
        read_stored_weights(tmp_path)
    assert "weights_only" not in str(raised.value)


@pytest.mark.parametrize("length", [2**62, 10**8 + 1, 50])
def test_a_header_longer_than_its_file(length: int, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(StorageError, match=r"model.safetensors: cannot read the weights"):
        read_stored_weights(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "3", "\udcff"])
def test_json_that_is_no_mapping(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"config.json: (cannot be read as JSON|not a JSON mapping)"):
        read_json(file)
