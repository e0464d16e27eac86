"""Result files: written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kosmos.errors import DataError, StorageError


def write_text(path: Path, text: str) -> None:
    """Write `text` to a neighbouring file, sync it, and rename it into place. Raises StorageError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path}: cannot write: {error.strerror or error}; free some space, then start again"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with keys in the given order; floats keep every digit."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises DataError naming the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read the result file: {error}; delete it and evaluate again") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line. Raises DataError naming the file."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read the samples: {error}; delete it and evaluate again") from error
