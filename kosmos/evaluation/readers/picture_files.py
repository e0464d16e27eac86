"""Pictures of evaluation datasets: read from disk when they are needed, and never kept.

An evaluation holds all examples of a dataset until its end; with their pictures that would be many gigabytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from kosmos.document import Image
from kosmos.errors import ConfigError, DataError, ImageError
from kosmos.evaluation.readers.dataset_files import Row


@dataclass(frozen=True, eq=False, repr=False)
class PictureFile(Image):
    """A picture by its path; its bytes are read anew each time. Raises ImageError, naming it, where it is missing."""

    @property
    def data(self) -> bytes:  # not cached, other than in Image
        try:
            return Path(self.source).read_bytes()
        except OSError as error:
            raise ImageError(f"{self.source}: cannot read the picture: {error.strerror or error}") from error


@dataclass(frozen=True, eq=False, repr=False)
class TablePicture(Image):
    """A picture in a cell of a parquet file. `source` names it for messages."""

    path: Path = Path()
    row: int = 0
    column: str = "image"

    @property
    def data(self) -> bytes:
        group, place = _group_of(self.path, self.row)
        cell = _column_of_group(str(self.path), group, self.column)[place].as_py()
        return _cell_bytes(cell, self)


def picture_table(paths: Sequence[Path], column: str = "image") -> list[tuple[Row, Image]]:
    """The rows of parquet files without the column that holds the pictures, each with its picture, which is not read.

    Raises DataError for a file that is no parquet or lacks the column, ConfigError without pyarrow.
    """
    found: list[tuple[Row, Image]] = []
    for path in paths:
        file = _open(str(path))
        names = list(file.schema_arrow.names)
        if column not in names:
            raise DataError(f"{path}: no column '{column}' with the pictures; there are: {', '.join(names)}")
        others = [name for name in names if name != column]
        rows = file.read(columns=others).to_pylist() if others else [{}] * file.metadata.num_rows
        for index, values in enumerate(rows):
            where = f"{path}, row {index}"
            picture = TablePicture(f"{where}, column {column}", path=path, row=index, column=column)
            found.append((Row(where, len(found), values), picture))
    return found


def picture_folder(folder: Path, *names: str) -> Path:
    """The first of some subfolders that is there; else the first, so that a message names it."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])


def _cell_bytes(cell: Any, picture: TablePicture) -> bytes:
    """The encoded picture of a cell: bytes, base64 text, or the hub's struct of bytes and path."""
    if isinstance(cell, dict):
        if cell.get("bytes") is None and cell.get("path"):
            return PictureFile(picture.path.parent / cell["path"]).data
        cell = cell.get("bytes")
    if isinstance(cell, str):
        try:
            return base64.b64decode(cell.partition("base64,")[2] or cell, validate=True)
        except binascii.Error as error:
            raise ImageError(f"{picture.where}: the picture is not base64: {error}") from error
    if not isinstance(cell, bytes):
        raise ImageError(f"{picture.where}: there is no picture in this cell")
    return cell


@lru_cache(maxsize=64)
def _open(path: str) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(f"{path}: parquet needs pyarrow: pip install 'kosmos[data]'") from error
    try:
        return parquet.ParquetFile(path, memory_map=True)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot read the table: {error}") from error


def _group_of(path: Path, row: int) -> tuple[int, int]:
    metadata = _open(str(path)).metadata
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if row < size:
            return group, row
        row -= size
    raise DataError(f"{path}: the table has changed since it was read; start again")


@lru_cache(maxsize=8)  # a row group of a hundred pictures is some ten megabytes
def _column_of_group(path: str, group: int, column: str) -> Any:
    return _open(path).read_row_group(group, columns=[column]).column(0)
