"""Vision towers by configuration: built, given pretrained weights, refused when they would stay random."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kosmos.config import VisionConfig
from kosmos.errors import UsageError
from kosmos.model.conv_tower import ConvTower
from kosmos.model.pretrained_part import TOWER_FILE, load_part
from kosmos.model.tower import VisionTower


def check_random_vision(config: VisionConfig, random_vision: bool) -> None:
    """Refuse a tower that would stay random: UsageError unless `random_vision` asks for it."""
    if config.pretrained is None and config.trainable != "all" and not random_vision:
        raise UsageError(
            f"vision: the tower would be random and frozen (trainable: {config.trainable}, pretrained: null); "
            "set model.vision.pretrained, or trainable: all, or pass --random-vision"
        )


def build_vision(config: VisionConfig, random_vision: bool = False) -> VisionTower:
    """The tower of `config`, with pretrained weights where it names them.

    Raises UsageError for a random frozen tower without `random_vision`, ConfigError when the weights are of another
    shape than the configuration, DataError or StorageError when they are missing or damaged.
    """
    check_random_vision(config, random_vision)
    if config.kind == "clip":
        # Imported here: transformers takes seconds to import, and the convolutional tower does without it.
        from kosmos.model.clip_tower import ClipTower, load_clip

        return ClipTower(config) if config.pretrained is None else load_clip(config, config.pretrained)
    tower = ConvTower(config)
    if config.pretrained is not None:
        load_part(tower, Path(config.pretrained) / TOWER_FILE, "vision.channels")
    return tower


def resolve_vision(config: VisionConfig) -> VisionConfig:
    """`config` with the activation of its pretrained CLIP folder (OpenAI's use quick_gelu, LAION's gelu)."""
    if config.kind != "clip" or config.pretrained is None:
        return config
    from kosmos.model.clip_tower import stored_activation

    return replace(config, activation=stored_activation(config.pretrained))
