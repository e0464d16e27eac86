"""A model on disk: config.yaml, model.safetensors and the processor's files, whole or not there at all.

The tied matrix is stored once, as the embedding. The format's version stands in the safetensors metadata.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kosmos.config import ModelConfig
from kosmos.config_files import load_config, save_config
from kosmos.errors import ConfigError, DataError, StorageError, UsageError
from kosmos.model.encoders import build_encoder
from kosmos.model.tower import VisionTower
from kosmos.runs import CONFIG_FILE, WEIGHTS_FILE
from kosmos.storage import sync_tree

if TYPE_CHECKING:
    from kosmos.model.kosmos import Kosmos, Saveable

FORMAT_VERSION = 1

_Model = TypeVar("_Model", bound="Kosmos")


def save(
    model: nn.Module,
    config: ModelConfig,
    folder: Path,
    processor: Saveable | None,
    tensors: dict[str, Tensor] | None = None,
) -> None:
    """Write the model into `folder`: into a temporary folder beside it first, then renamed.

    `tensors`: its values, where they are not the model's own at this moment.
    """
    folder = folder.absolute()
    refuse_existing(folder)

    def fill(temporary: Path) -> None:
        if processor is not None:
            processor.save(temporary)
        save_config(config, temporary / CONFIG_FILE)
        save_tensors(dict(model.state_dict()) if tensors is None else tensors, temporary / WEIGHTS_FILE)

    write_folder(folder, fill)


def refuse_existing(folder: Path) -> None:
    """Raise UsageError when `folder` is there already and is not an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists already; choose another folder or remove it")


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make `folder` (absent or empty) with what `fill` writes, by rename; on any failure nothing is left behind."""
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        # mkdtemp's folder is for its owner only; weights are for everyone the parent folder is for.
        temporary.chmod(folder.parent.stat().st_mode & 0o777)
        fill(temporary)
        sync_tree(temporary)
        temporary.rename(folder)
    except OSError as error:
        raise StorageError(f"{folder}: cannot write the model: {error.strerror or error}") from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def save_tensors(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as they are (no cast) to a safetensors file. Raises StorageError when the disk refuses.

    `metadata`: instead of our format's version, one entry.
    """
    whole = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    try:
        file.touch()
        mode = file.stat().st_mode
        # One entry only: safetensors writes several in any order, and equal models shall give equal files.
        save_file(whole, file, metadata=metadata or {"kosmos_format": str(FORMAT_VERSION)})
        # safetensors makes files that only their owner reads.
        file.chmod(mode)
    except Exception as error:  # safetensors wraps the system's error in its own type
        raise StorageError(f"{file}: cannot write the weights: {error}") from error


def read_config(folder: Path) -> ModelConfig:
    """The ModelConfig of a saved folder. Raises DataError when there is none, ConfigError when it is wrong."""
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise DataError(f"{folder}: not a saved model: {CONFIG_FILE} is missing")
    return load_config(file, ModelConfig)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a saved folder. Raises DataError when the file is missing, StorageError when it is damaged."""
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        raise DataError(f"{folder}: not a saved model: {WEIGHTS_FILE} is missing")
    try:
        with safe_open(file, framework="pt") as stored:
            metadata: dict[str, str] = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' error type is not public
        raise StorageError(f"{file}: damaged weights: {str(error).splitlines()[0]}") from error
    version = metadata.get("kosmos_format")
    if version != str(FORMAT_VERSION):
        raise DataError(f"{file}: format version {version}, this program reads version {FORMAT_VERSION}")
    return tensors


def without_pretrained(config: ModelConfig) -> ModelConfig:
    """`config` that builds without reading the weights that its parts started from."""
    vision = None if config.vision is None else replace(config.vision, pretrained=None)
    return replace(config, vision=vision, resampler=replace(config.resampler, pretrained=None))


def without_values(kind: type[_Model], config: ModelConfig) -> _Model:
    """A model on the meta device, to be filled by `assign`."""
    with torch.device("meta"):
        model = kind(without_pretrained(config), random_vision=True)
    model.config = config
    for name in config.extra_modalities:
        # Encoders from outside may hold buffers that no file stores, so they are built for real.
        model.encoders[name] = build_encoder(name, config)
    return model


def assign(model: Kosmos, tensors: dict[str, Tensor], folder: Path) -> None:
    """Put `tensors` in the place of the model's own. Raises ConfigError when names or shapes do not fit."""
    expected = dict(model.state_dict())
    missing = sorted(expected.keys() - tensors.keys())
    unused = sorted(tensors.keys() - expected.keys())
    if missing or unused:
        raise ConfigError(
            f"{folder}: weights and {CONFIG_FILE} do not fit: {len(missing)} tensors missing, {len(unused)} unknown "
            f"({', '.join((missing + unused)[:3])})"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ConfigError(
                f"{folder}: {name} is {list(tensor.shape)}, but {CONFIG_FILE} says {list(expected[name].shape)}"
            )
    model.load_state_dict(tensors, assign=True)
    for module in model.modules():
        if isinstance(module, VisionTower):
            module.materialize()
