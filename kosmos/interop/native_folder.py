"""What an import writes: tensors that fit our model, and the folder of ours that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from kosmos.config import ModelConfig
from kosmos.config_files import config_from_mapping, config_to_mapping, save_config
from kosmos.errors import DataError
from kosmos.interop.model_card import CARD_FILE
from kosmos.model import weights
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import CONFIG_FILE, WEIGHTS_FILE
from kosmos.storage import write_atomic

_HALVES = (torch.float16, torch.bfloat16)


def checked_config(config: ModelConfig, where: str) -> ModelConfig:
    """`config`, made of a foreign one, when it could stand in our config.yaml. Raises ConfigError."""
    return config_from_mapping(config_to_mapping(config), ModelConfig, where)


def fitting_tensors(
    tensors: Mapping[str, Tensor], config: ModelConfig, where: str, their_name: Callable[[str], str]
) -> dict[str, Tensor]:
    """`tensors`, under our names, with halves widened to fp32, when they are all that a model of `config` has.

    `their_name` gives the name that a message calls a tensor of ours by. Raises DataError when some are missing,
    unknown, or of another shape or type.
    """
    expected = dict(weights.without_values(Kosmos, config).state_dict())
    missing, unknown = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unknown:
        shown = ", ".join(their_name(name) for name in (missing + unknown)[:3])
        raise DataError(
            f"{where}: weights and config.json do not fit: {len(missing)} tensors missing, {len(unknown)} too many "
            f"({shown})"
        )
    made = {}
    for name, tensor in tensors.items():
        wanted = expected[name]
        if tensor.dtype in _HALVES:
            tensor = tensor.float()
        if tensor.dtype != wanted.dtype:
            raise DataError(
                f"{where}: {their_name(name)} is of type {tensor.dtype}; weights are float32, or half of it"
            )
        if tensor.shape != wanted.shape:
            raise DataError(
                f"{where}: {their_name(name)} is {list(tensor.shape)}, but config.json says {list(wanted.shape)}"
            )
        made[name] = tensor
    return made


def write_native(folder: Path, processor: Processor, tensors: dict[str, Tensor], card: str) -> None:
    """Fill an existing folder with a model of ours and its card. Raises StorageError when the disk refuses."""
    processor.save(folder)
    save_config(processor.config, folder / CONFIG_FILE)
    weights.save_tensors(tensors, folder / WEIGHTS_FILE)
    write_atomic(folder / CARD_FILE, card.encode())
