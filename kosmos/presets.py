"""The named configurations inside the package: models (`kosmos/configs/*.yaml`) and training recipes (`recipes/`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kosmos.config import ModelConfig, TrainConfig
from kosmos.config_files import (
    PRESETS,
    RECIPES,
    config_from_mapping,
    load_config,
    preset_mapping,
    preset_names,
    read_yaml,
    recipe_names,
)
from kosmos.errors import ConfigError, UsageError, nearest


def preset_text(name: str) -> str:
    """A preset's YAML with its comments. Raises UsageError for an unknown name."""
    names = preset_names()
    if name not in names:
        raise UsageError(f"no preset '{name}'{nearest(name, names)}; `kosmos presets` lists them")
    return (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")


def preset_summary(name: str) -> str:
    """The first comment line of a preset."""
    return _summary(preset_text(name))


def load_preset(name: str) -> ModelConfig:
    """A preset as a checked configuration. Raises ConfigError for an unknown name."""
    return config_from_mapping(preset_mapping(name), ModelConfig, where=f"preset {name}")


def recipe_text(name: str) -> str:
    """A packaged recipe's YAML with its comments. Raises UsageError for an unknown name."""
    names = recipe_names()
    if name not in names:
        raise UsageError(f"no recipe '{name}'{nearest(name, names)}; `kosmos recipes` lists them")
    return (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")


def recipe_summary(name: str) -> str:
    """The first comment line of a packaged recipe."""
    return _summary(recipe_text(name))


def find_recipe(given: str | Path) -> Path:
    """The file of a recipe that is given by its file or by its name. Raises UsageError when there is neither."""
    if Path(given).is_file():
        return Path(given)
    names = recipe_names()
    if str(given) in names:
        return RECIPES / f"{given}.yaml"
    raise UsageError(
        f"{given}: no such file, and no recipe of that name{nearest(str(given), names)}; `kosmos recipes` lists them"
    )


def load_recipe(given: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> TrainConfig:
    """A recipe by its file or by its name, with overrides on top. Raises UsageError when there is none, ConfigError."""
    path = find_recipe(given)
    if not overrides and not read_yaml(path):
        raise ConfigError(f"{path}: the file is empty; `kosmos recipes show NAME` shows what a recipe looks like")
    return load_config(path, TrainConfig, overrides)


def _summary(text: str) -> str:
    return text.partition("\n")[0].removeprefix("#").strip()
