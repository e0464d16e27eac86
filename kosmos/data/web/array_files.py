"""Arrays between stages: a file is whole or absent, and is read through a memory map."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from kosmos.errors import StorageError
from kosmos.storage import make_folder, write_atomic


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy. Raises StorageError."""
    make_folder(path.parent)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomic(path, buffer.getvalue())


def read_array(path: Path) -> np.ndarray:
    """Map an array that `write_array` wrote. Raises StorageError."""
    try:
        # An empty file cannot be mapped.
        array: np.ndarray = np.load(path, mmap_mode="r" if path.stat().st_size > 1 << 16 else None, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: what an earlier stage wrote cannot be read; start anew in a new folder") from error
    return array
