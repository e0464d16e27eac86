"""Checkpoints: everything a run needs to go on, whole or absent.

checkpoints/step-N/ holds weights/ (a folder of `Kosmos.save_pretrained`), optimizer.safetensors, state.json and
MANIFEST.sha256. It is written under a hidden name, synced, and renamed; older ones are removed only after that.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kosmos import __version__
from kosmos.errors import StorageError
from kosmos.model.kosmos import Kosmos, Saveable
from kosmos.runs import CHECKPOINTS, WEIGHTS, latest_step, steps
from kosmos.storage import make_folder, sync, sync_tree, write_manifest
from kosmos.training.optimizer import Optimizer

STATE_FILE = "state.json"
OPTIMIZER_FILE = "optimizer.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class TrainingState:
    """What state.json holds: `stream` is the data stream's state after `step`."""

    step: int
    seed: int
    precision: str
    stream: dict[str, Any]


def save_checkpoint(
    run: Path, state: TrainingState, model: Kosmos, processor: Saveable, optimizer: Optimizer, keep: int
) -> Path:
    """Write and commit the checkpoint of a step, then remove all but the last `keep`.

    Raises StorageError when the disk refuses; what was committed before stays, and nothing half-written does.
    """
    folder = make_folder(run / CHECKPOINTS)
    final = folder / f"step-{state.step}"
    remove_unfinished(run)
    temporary = folder / f".step-{state.step}.{os.getpid()}"
    try:
        with _disk_errors(final):
            temporary.mkdir()
            model.save_pretrained(temporary / WEIGHTS, processor)
            save_file(_on_cpu(optimizer.state_tensors()), temporary / OPTIMIZER_FILE)
            (temporary / STATE_FILE).write_text(json.dumps(_state_record(state)), encoding="utf-8")
            write_manifest(temporary)
            sync_tree(temporary)
            if final.exists():  # a damaged one that a resumed run stepped back over
                shutil.rmtree(final)
            temporary.rename(final)
            sync(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for _, old in steps(run)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_model(folder: Path) -> Kosmos:
    """The model of a checkpoint, ready to be trained on. The folder's manifest must have been checked."""
    model = Kosmos.from_pretrained(folder / WEIGHTS)
    # Tensors of a mapped file lie at other alignments, and matrix products may round otherwise there.
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data = tensor.data.clone()
    return model


def load_optimizer(folder: Path, optimizer: Optimizer) -> None:
    """Put a checkpoint's moments into `optimizer`. Raises StorageError when they do not fit."""
    try:
        tensors = load_file(folder / OPTIMIZER_FILE)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{folder / OPTIMIZER_FILE}: cannot read: {' '.join(str(error).split())}") from error
    optimizer.load_state_tensors({name: tensor.clone() for name, tensor in tensors.items()})


def read_state(folder: Path) -> TrainingState:
    """The TrainingState of a checkpoint. Raises StorageError when it cannot be read."""
    try:
        record = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        if record["format"] != FORMAT_VERSION:
            raise StorageError(f"{folder}: checkpoint format {record['format']}, this program reads {FORMAT_VERSION}")
        return TrainingState(record["step"], record["seed"], record["precision"], record["stream"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{folder / STATE_FILE}: cannot be read: {error}") from error


def latest_checkpoint(run: Path) -> Path | None:
    """The last whole checkpoint of a run, or None when it has none. Raises StorageError when all are damaged."""
    return latest_step(run) if steps(run) else None


def remove_unfinished(run: Path) -> None:
    """Remove what a killed save left behind."""
    for leftover in (run / CHECKPOINTS).glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _state_record(state: TrainingState) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "step": state.step,
        "seed": state.seed,
        "precision": state.precision,
        "stream": state.stream,
        "versions": {"kosmos": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Say an operating system's refusal in one line, and what to do."""
    try:
        yield
    except StorageError as error:
        raise StorageError(f"{error}; earlier checkpoints are whole") from error
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise StorageError(
            f"{folder}: cannot write the checkpoint: {reason}; earlier checkpoints are whole: free some space, "
            "then resume"
        ) from error
