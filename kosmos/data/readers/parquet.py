"""Readers of parquet: text, and pairs with the picture's bytes inside, as Hugging Face writes them.

A record is a row. Its row group is decoded whole and kept while there is room, so records that are read close to each
other cost one decoding.
"""

from __future__ import annotations

import bisect
import itertools
from collections import OrderedDict
from typing import Any

from kosmos.config import CorpusConfig
from kosmos.data.readers import BadRecord
from kosmos.data.readers.files import is_url, open_binary, read_range
from kosmos.data.readers.records import RawRecord, decode_text, pair_record, text_record
from kosmos.data.readers.shards import ShardReader
from kosmos.errors import ConfigError, DataError

# Decoded row groups that stay in memory, in bytes; one always does.
CACHE_BYTES = 256 << 20
_MAGIC = b"PAR1"


class Table:
    """One parquet file. A file without its end is one record, which is bad."""

    def __init__(self, path: str) -> None:
        self.path = path
        parquet = _pyarrow(path)
        self.cut_short = False
        try:
            self._file = parquet.ParquetFile(open_binary(path) if is_url(path) else path)
        except (OSError, ValueError) as error:
            # pyarrow's errors derive from these two.
            if read_range(path, 0, 4) != _MAGIC:
                raise DataError(f"{path}: not a parquet file: {error}") from error
            self.cut_short = True
            self._ends = [1]
            return
        meta = self._file.metadata
        rows = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
        self._ends = list(itertools.accumulate(rows))
        self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def place(self, row: int) -> tuple[int, int]:
        """(row group, row in it)."""
        group = bisect.bisect_right(self._ends, row)
        return group, row - (self._ends[group - 1] if group else 0)

    def group_sizes(self) -> list[int]:
        """Rows of each row group."""
        return [end - start for start, end in zip([0, *self._ends], self._ends)]

    def read_group(self, group: int, columns: list[str]) -> Any:
        """A row group as a pyarrow Table. Raises OSError or ValueError when it is damaged."""
        # Worker processes share the machine's cores; each does its own work only.
        return self._file.read_row_group(group, columns=columns, use_threads=False)


def _pyarrow(path: str) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(f"{path}: parquet needs pyarrow: pip install 'kosmos[data]'") from error
    return pyarrow.parquet


class ParquetRecords(ShardReader[Table]):
    """Base of the parquet readers: a record is a row, of which only the columns that are needed are decoded."""

    suffixes = (".parquet",)

    def __init__(self, entry: CorpusConfig) -> None:
        super().__init__(entry)
        self._groups: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._held = 0

    def open_index(self, shard: str) -> Table:
        return Table(shard)

    def raw(self, shard: str, record: int) -> RawRecord | BadRecord:
        table = self.index(shard)
        where = f"{shard} row {record}"
        if table.cut_short:
            return BadRecord(where, "parquet cut short", "the footer is missing")
        chosen = self.choose(table.columns)
        if isinstance(chosen, str):
            return BadRecord(where, "no column", f"{chosen}; there are: {', '.join(table.columns)}")
        number, row = table.place(record)
        group = self._group(shard, table, number, chosen)
        if isinstance(group, str):
            return BadRecord(where, "damaged row group", group)
        try:
            fields = {name: group.column(name)[row].as_py() for name in chosen}
        except UnicodeDecodeError as error:
            return BadRecord(where, "not utf-8", str(error))
        return self.parse(fields, where)

    def choose(self, columns: tuple[str, ...]) -> list[str] | str:
        """The columns that a record needs out of those there are, or the name of a missing one."""
        raise NotImplementedError

    def parse(self, fields: dict[str, Any], where: str) -> RawRecord | BadRecord:
        """The record of one row's fields."""
        raise NotImplementedError

    def _group(self, shard: str, table: Table, number: int, columns: list[str]) -> Any:
        """A decoded row group, or what is wrong with it."""
        key = (shard, number)
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        try:
            group = table.read_group(number, columns)
        except (OSError, ValueError) as error:
            group = str(error).splitlines()[0]
        self._groups[key] = group
        self._held += _bytes(group)
        while self._held > CACHE_BYTES and len(self._groups) > 1:
            self._held -= _bytes(self._groups.popitem(last=False)[1])
        return group


def _bytes(group: Any) -> int:
    return len(group) if isinstance(group, str) else int(group.nbytes)


class ParquetText(ParquetRecords):
    """A column of text: `text`, or the one that `field` names."""

    def choose(self, columns: tuple[str, ...]) -> list[str] | str:
        name = self.field or "text"
        return [name] if name in columns else name

    def parse(self, fields: dict[str, Any], where: str) -> RawRecord | BadRecord:
        [value] = fields.values()
        if isinstance(value, bytes):
            value = decode_text(value, where)
        return value if isinstance(value, BadRecord) else text_record(value, where)


class PairsParquet(ParquetRecords):
    """A picture and a caption in each row.

    The picture is in the column `image`, as {"bytes", "path"} or as bytes, or in the first that is called jpg, png,
    webp or picture; the caption in `caption` or `text`, or the column that `field` names.
    """

    def choose(self, columns: tuple[str, ...]) -> list[str] | str:
        picture = next((name for name in ("image", "jpg", "png", "webp", "picture") if name in columns), None)
        if picture is None:
            return "image"
        captions = (self.field,) if self.field else ("caption", "text")
        caption = next((name for name in captions if name in columns), None)
        return [picture, caption] if caption is not None else captions[0]

    def parse(self, fields: dict[str, Any], where: str) -> RawRecord | BadRecord:
        picture, caption = fields.values()
        data = picture.get("bytes") if isinstance(picture, dict) else picture
        if not isinstance(data, bytes) or not data:
            return BadRecord(where, "missing member", "the row holds no picture's bytes")
        if isinstance(caption, list):
            # Sets with several captions to a picture list them; the first is the one that is used.
            caption = caption[0] if caption else None
        return pair_record(data, caption, where)
