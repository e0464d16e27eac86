"""The named model configurations inside the package (`kosmos/configs/*.yaml`)."""

from __future__ import annotations

from kosmos.config import ModelConfig
from kosmos.config_files import PRESETS, config_from_mapping, preset_mapping, preset_names
from kosmos.errors import UsageError, nearest


def preset_text(name: str) -> str:
    """A preset's YAML with its comments. Raises UsageError for an unknown name."""
    names = preset_names()
    if name not in names:
        raise UsageError(f"no preset '{name}'{nearest(name, names)}; `kosmos presets` lists them")
    return (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")


def preset_summary(name: str) -> str:
    """The first comment line of a preset."""
    return preset_text(name).partition("\n")[0].removeprefix("#").strip()


def load_preset(name: str) -> ModelConfig:
    """A preset as a checked configuration. Raises ConfigError for an unknown name."""
    return config_from_mapping(preset_mapping(name), ModelConfig, where=f"preset {name}")
