"""What a folder in transformers' form holds, told by its config.json without loading anything."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from kosmos.errors import DataError
from kosmos.interop.stored_json import read_json
from kosmos.runs import CONFIG_FILE

Kind = Literal["kosmos-2", "kosmos1", "clip"]

_KINDS: dict[str, Kind] = {
    "kosmos-2": "kosmos-2",
    "kosmos1": "kosmos1",  # what `kosmos export --format transformers` writes
    "clip": "clip",
    "clip_vision_model": "clip",
}


def folder_kind(folder: Path) -> Kind:
    """Whose weights these are. Raises DataError for anything else, and says what it is."""
    file = folder / "config.json"
    if not file.is_file():
        if (folder / CONFIG_FILE).is_file():
            raise DataError(f"{folder}: a folder of kosmos already; every verb reads it as it is")
        raise DataError(f"{folder}: no config.json here: give a folder in transformers' form, downloaded before")
    kind = read_json(file).get("model_type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise DataError(f"{file}: model_type is '{kind}'; what can be imported: {', '.join(_KINDS)}")
    return _KINDS[kind]
