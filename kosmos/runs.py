"""Runs on disk: from a run directory, a step or an exported folder to the folder with the weights.

A run directory holds config.yaml, metrics.jsonl and checkpoints/step-N/{weights/, ..., MANIFEST.sha256}; a weights
folder holds config.yaml, model.safetensors and the tokenizer's files.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from kosmos.errors import StorageError, UsageError
from kosmos.storage import MANIFEST, check_manifest

CHECKPOINTS = "checkpoints"
WEIGHTS = "weights"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.jsonl"

logger = logging.getLogger(__name__)


def resolve(path: str | Path) -> Path:
    """The weights folder behind `path`: a run directory (its latest valid step), a step folder, or a weights folder.

    A damaged step of a run is passed over with a warning for the one before it. Raises UsageError when nothing is
    there, StorageError when all that is there is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"{path}: no such run, step or model folder")
    if (path / WEIGHTS_FILE).is_file():
        if (path / MANIFEST).is_file():
            check_manifest(path)
        elif (path.parent / MANIFEST).is_file():
            check_manifest(path.parent, under=path.name)
        return path
    if (path / WEIGHTS).is_dir():
        check_manifest(path, under=WEIGHTS)
        return path / WEIGHTS
    if (path / CHECKPOINTS).is_dir():
        return latest_step(path, under=WEIGHTS) / WEIGHTS
    raise UsageError(f"{path}: not a run directory, a step or a model folder (no {CHECKPOINTS}/ and no {WEIGHTS_FILE})")


def steps(run: str | Path) -> list[tuple[int, Path]]:
    """(number, folder) of a run's committed steps, ascending; their files are not checked."""
    found = []
    for folder in (Path(run) / CHECKPOINTS).glob("step-*"):
        match = re.fullmatch(r"step-(\d+)", folder.name)
        if match and folder.is_dir():
            found.append((int(match[1]), folder))
    return sorted(found)


def latest_step(run: str | Path, under: str = "") -> Path:
    """The latest step folder whose files match its manifest; `under` limits the check to one sub-folder.

    Raises UsageError when there is no step yet, StorageError when every step is damaged.
    """
    damaged = ""
    for _, folder in reversed(steps(run)):
        try:
            check_manifest(folder, under)
        except StorageError as error:
            logger.warning("%s; trying the step before it", error)
            damaged = damaged or str(error)
            continue
        return folder
    if damaged:
        raise StorageError(f"{run}: every checkpoint is damaged; the latest: {damaged}")
    raise UsageError(f"{run}: no checkpoint yet; let `kosmos train` reach its first one")
