"""Weights of one part of the model from a folder of `kosmos train-vision`."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from kosmos.errors import ConfigError, DataError, StorageError
from kosmos.runs import WEIGHTS_FILE

TOWER_FILE = WEIGHTS_FILE
RESAMPLER_FILE = "resampler.safetensors"


def load_part(part: nn.Module, file: Path, key: str) -> None:
    """Fill `part` from a safetensors file; `key` is what names the part's shape in the configuration.

    Raises DataError when the file is missing, StorageError when it is damaged, ConfigError when it does not fit.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file; make it with 'kosmos train-vision', or set its `pretrained: null`")
    try:
        weights = load_file(file)
    except Exception as error:  # safetensors' error type is not public
        raise StorageError(f"{file}: damaged weights: {str(error).strip().splitlines()[0]}") from error
    try:
        part.load_state_dict(weights)
    except RuntimeError as error:
        # The first line only says that something is wrong, the second what.
        reason = " ".join(str(error).split("\n", 1)[-1].strip().splitlines()[0].split())
        raise ConfigError(f"{file}: not the shape that {key} says: {reason}") from error
