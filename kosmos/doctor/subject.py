"""From what the user names, a run directory or a recipe, to what is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.config import TrainConfig
from kosmos.config_files import load_config, recipe_names
from kosmos.doctor.registry import Subject
from kosmos.errors import ConfigError, UsageError
from kosmos.presets import find_recipe
from kosmos.runs import CONFIG_FILE, WEIGHTS_FILE


def open_subject(name: str | None, overrides: Sequence[str] = ()) -> Subject:
    """A run directory, a recipe's file or its name, with overrides on top; None: the environment alone.

    Raises UsageError when it is none of these; what is wrong within a recipe is kept for the check.
    """
    if name is None:
        if overrides:
            raise UsageError("keys of a recipe were given, and no recipe")
        return Subject()
    path = Path(name)
    if path.is_dir():
        if (path / WEIGHTS_FILE).is_file() or not (path / CONFIG_FILE).is_file():
            raise UsageError(f"{name}: not a run directory; name one, or a recipe")
        return _with_config(name, path / CONFIG_FILE, path, overrides)
    if not path.is_file() and name not in recipe_names():
        raise UsageError(f"{name}: no such run directory or recipe; `kosmos recipes` lists the packaged ones")
    return _with_config(name, find_recipe(name), None, overrides)


def _with_config(name: str, file: Path, run: Path | None, overrides: Sequence[str]) -> Subject:
    try:
        return Subject(name, run, load_config(file, TrainConfig, overrides))
    except ConfigError as error:
        return Subject(name, run, None, error)
