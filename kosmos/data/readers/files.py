"""Which files a corpus consists of."""

from __future__ import annotations

import glob
from pathlib import Path

from kosmos.errors import DataError


def find_shards(path: str, suffix: str) -> list[str]:
    """The files behind `path` in sorted order: one file, all `*suffix` of a folder, or a glob pattern.

    Raises DataError when there are none.
    """
    place = Path(path)
    if place.is_dir():
        found = sorted(str(file) for file in place.glob(f"*{suffix}") if file.is_file())
        if not found:
            raise DataError(f"{path}: the folder holds no *{suffix} file")
        return found
    if place.is_file():
        return [str(place)]
    found = sorted(file for file in glob.glob(path) if Path(file).is_file())
    if not found:
        raise DataError(f"{path}: no such file or folder")
    return found
