"""JSON files of a folder in transformers' form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kosmos.errors import DataError


def read_json(file: Path) -> dict[str, Any]:
    """The mapping that `file` holds. Raises DataError when it cannot be read or holds something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # deep nesting ends in the last
        raise DataError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file}: not a JSON mapping")
    return found
