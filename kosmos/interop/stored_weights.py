"""Weights of a folder in transformers' form: one safetensors file, several with an index, or pytorch_model.bin."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from kosmos.errors import DataError, StorageError
from kosmos.interop.stored_json import read_json
from kosmos.storage import PICKLED

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_BIN, _BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


def read_stored_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors by name; files are mapped into memory, not copied. safetensors is taken where there are both.

    A .bin file is read with `weights_only`, so that it cannot run code. Raises DataError when there are no weights or
    a part is missing, StorageError when a file is damaged, holds something else than tensors, or an index names a file
    outside of the folder.
    """
    if (folder / _SINGLE).is_file():
        return _read(folder / _SINGLE, _read_safetensors)
    if (folder / _INDEX).is_file():
        return _read_parts(folder, _INDEX, _read_safetensors)
    if (folder / _BIN).is_file():
        return _read(folder / _BIN, _read_bin)
    if (folder / _BIN_INDEX).is_file():
        return _read_parts(folder, _BIN_INDEX, _read_bin)
    raise DataError(f"{folder}: no weights here: neither {_SINGLE}, {_INDEX} nor {_BIN}")


def check_indexes(folder: Path) -> None:
    """Raise what `read_stored_weights` does of a damaged index, or one that names files outside of the folder."""
    for index in (_INDEX, _BIN_INDEX):
        if (folder / index).is_file():
            _weight_map(folder, index)


def _weight_map(folder: Path, index: str) -> dict[str, str]:
    """In which file of the folder each tensor is."""
    try:
        weight_map = dict(read_json(folder / index)["weight_map"])
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{folder / index}: damaged: not an index of weights") from error
    for name in weight_map.values():
        if not isinstance(name, str):
            raise StorageError(f"{folder / index}: damaged: {name!r} is no name of a file")
        if Path(name).name != name:
            raise StorageError(f"{folder / index}: names a file outside of its folder: {name}")
    return weight_map


def _read_parts(folder: Path, index: str, reader: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    weight_map = _weight_map(folder, index)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(weight_map.values())):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: missing, {index} lists it; fetch it again")
        part = _read(folder / name, reader)
        tensors |= {key: tensor for key, tensor in part.items() if weight_map.get(key) == name}
    if absent := sorted(weight_map.keys() - tensors.keys()):
        raise DataError(f"{folder / index}: {len(absent)} tensors are in none of its files: {', '.join(absent[:3])}")
    return tensors


def _read(file: Path, reader: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    try:
        return reader(file)
    except pickle.UnpicklingError as error:  # torch's own message advises to run the code
        raise StorageError(f"{file}: cannot read the weights: {PICKLED}") from error
    except Exception as error:  # torch and safetensors raise many types for a damaged file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(f"{file}: cannot read the weights: {lines[0]}") from error


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118


def _read_bin(file: Path) -> dict[str, Tensor]:
    # Files from before torch 1.6 are no zip archives and cannot be mapped.
    loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    if not isinstance(loaded, dict) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise TypeError("not a mapping of names to tensors")
    return dict(loaded)
