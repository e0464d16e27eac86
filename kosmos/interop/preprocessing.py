"""How a folder in transformers' form prepares pictures, as far as ours can say it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kosmos.errors import DataError
from kosmos.interop.stored_json import read_json

_BICUBIC = 3


def read_preprocessing(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Mean and deviation as fields of VisionConfig, and in words what differs from our own preprocessing.

    Raises DataError when a file is damaged.
    """
    found = image_processor_settings(folder)
    if found is None:
        return {}, ["no preprocessor_config.json: pictures are normalised with CLIP's mean and deviation"]
    notes = []
    size = found.get("size")
    square = found.get("use_square_size") or (isinstance(size, Mapping) and "height" in size)
    if not square:
        notes.append("the folder's preprocessing crops pictures; here the whole picture is squeezed into the square")
    if found.get("resample", _BICUBIC) != _BICUBIC:
        notes.append("the folder's preprocessing does not resize bicubically; here it is done so")
    return normalization(found, folder), notes


def image_processor_settings(folder: Path) -> dict[str, Any] | None:
    """The image processor's settings: within the processor's, or a file of their own; None without any."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            stored = read_json(folder / name)
            found = stored.get("image_processor") if name == "processor_config.json" else stored
            if isinstance(found, dict):
                return found
    return None


def normalization(settings: Mapping[str, Any], folder: Path) -> dict[str, tuple[float, ...]]:
    """`image_mean` and `image_std` where the settings give them. Raises DataError when one is not three numbers."""
    made = {}
    for name in ("image_mean", "image_std"):
        values = settings.get(name)
        if values is None:
            continue
        whole = isinstance(values, list) and len(values) == 3
        if not whole or not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            raise DataError(f"{folder}: the image processor's {name} is {values!r}; it is three numbers")
        if name == "image_std" and 0 in values:
            raise DataError(f"{folder}: the image processor's image_std is {values!r}; none may be 0")
        made[name] = tuple(map(float, values))
    return made
