"""Result files: written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kosmos.errors import DataError
from kosmos.storage import make_folder, write_atomic


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8; the folder is made when missing. Raises StorageError."""
    make_folder(path.parent)
    write_atomic(path, text.encode("utf-8"))


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
        # Only "\n" ends a line: splitlines() would also cut at the U+2028 that some passages hold.
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read the samples: {error}; delete it and evaluate again") from error
