"""Files of evaluation datasets: rows whose keys are checked when they are read, and what lies in a folder.

A dataset is found in one of several layouts (the official files, the form people take from a hub); the first whose
files are there is read. Every error names the file, the line and the key.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from kosmos.errors import ConfigError, DataError, UsageError, nearest
from kosmos.example import Example

# What a folder holds is listed in a message as far as this.
_LISTED = 8


@dataclass(frozen=True)
class Row:
    """One record of a file. `where` names it for messages ("val.jsonl, line 3"); `index` counts from 0."""

    where: str
    index: int
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def value(self, key: str) -> Any:
        """The value of `key`. Raises DataError when it is missing or null."""
        if key not in self:
            known = ", ".join(self.values)
            raise DataError(f"{self.where}: no '{key}'{nearest(key, self.values)}; there are: {known}")
        return self.values[key]

    def text(self, key: str) -> str:
        """A string, maybe empty. Raises DataError when it is missing or something else."""
        value = self.value(key)
        if not isinstance(value, str):
            raise DataError(f"{self.where}: '{key}' must be a string, not {value!r}")
        return value

    def filled(self, key: str) -> str:
        """A string that is not empty."""
        value = self.text(key)
        if not value.strip():
            raise DataError(f"{self.where}: '{key}' is empty")
        return value

    def integer(self, key: str) -> int:
        """A whole number, as such or as digits in a string."""
        value = self.value(key)
        try:
            if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
                raise ValueError
            return int(value)
        except (TypeError, ValueError):
            raise DataError(f"{self.where}: '{key}' must be a whole number, not {value!r}") from None

    def texts(self, key: str, count: int | None = None) -> list[str]:
        """A list of strings, `count` of them when given."""
        value = self.value(key)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
            raise DataError(f"{self.where}: '{key}' must be a list of strings, not {value!r}")
        if count is not None and len(value) != count:
            raise DataError(f"{self.where}: '{key}' must have {count} strings, not {len(value)}")
        return list(value)

    def label(self, key: str, spellings: Sequence[Sequence[Any]]) -> int:
        """The index of a gold label; `spellings[i]` is what files call label i. Raises DataError for another one."""
        value = self.value(key)
        # True == 1 in Python, so types are compared too.
        for index, known in enumerate(spellings):
            if any(value == spelling and type(value) is type(spelling) for spelling in known):
                return index
        all_known = ", ".join(repr(spelling) for known in spellings for spelling in known)
        hint = " (a test set without its labels?)" if value in ("", -1) else ""
        raise DataError(f"{self.where}: '{key}' must be one of {all_known}, not {value!r}{hint}")


def read_jsonl(path: Path) -> list[Row]:
    """One JSON object a line; blank lines are skipped."""
    rows: list[Row] = []
    # Only "\n" ends a line: splitlines() would also cut at the U+2028 that some passages hold.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON: {error}") from error
        if not isinstance(values, dict):
            raise DataError(f"{where}: must be a JSON object, not {type(values).__name__}")
        rows.append(Row(where, len(rows), values))
    return rows


def read_csv(path: Path, delimiter: str = ",") -> list[Row]:
    """A table whose first line names the columns."""
    rows: list[Row] = []
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    columns = [column.strip() for column in next(reader, [])]
    if not columns:
        raise DataError(f"{path}: empty; its first line must name the columns")
    for values in reader:
        if not values:
            continue
        where = f"{path}, line {reader.line_num}"
        if len(values) != len(columns):
            raise DataError(f"{where}: {len(values)} columns instead of {len(columns)} ({', '.join(columns)})")
        rows.append(Row(where, len(rows), dict(zip(columns, values))))
    return rows


def read_table(path: Path) -> list[Row]:
    """A parquet or Arrow file, as hubs write them. Raises ConfigError without pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(f"{path}: parquet needs pyarrow: pip install 'kosmos[data]'") from error
    try:
        if path.suffix == ".parquet":
            # By ParquetFile: read_table would take the names of folders above for columns.
            table = parquet.ParquetFile(path).read()
        else:
            table = _read_arrow(path, pyarrow)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these two
        raise DataError(f"{path}: cannot read the table: {error}") from error
    return [Row(f"{path}, row {index}", index, values) for index, values in enumerate(table.to_pylist())]


def _read_arrow(path: Path, pyarrow: Any) -> Any:
    data = pyarrow.BufferReader(path.read_bytes())
    try:
        return pyarrow.ipc.open_stream(data).read_all()  # what the datasets library writes
    except pyarrow.ArrowInvalid:
        data.seek(0)
        return pyarrow.ipc.open_file(data).read_all()


_READERS: Mapping[str, Callable[[Path], list[Row]]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": partial(read_csv, delimiter="\t"),
    ".parquet": read_table,
    ".arrow": read_table,
}


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of some files after each other, read by their suffix; `index` counts through."""
    rows: list[Row] = []
    for path in paths:
        if path.suffix not in _READERS:
            raise DataError(f"{path}: no reader for '{path.suffix}'; there are {', '.join(_READERS)}")
        before = len(rows)
        rows.extend(replace(row, index=before + row.index) for row in _READERS[path.suffix](path))
    return rows


def read_text(path: Path) -> str:
    """A whole UTF-8 file. Raises DataError naming it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read().replace("\r\n", "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without the blank ones at its end."""
    lines = read_text(path).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


@dataclass(frozen=True)
class Layout:
    """One form in which a dataset's files come.

    name    for messages and for `Example.meta["layout"]`
    files   split -> globs relative to the dataset's folder, the first that matches is taken
    read    the files found -> examples
    shards  a split may be cut into several files; otherwise two files for one glob are refused
    wanted  split -> what messages say was looked for, instead of the globs
    """

    name: str
    files: Mapping[str, tuple[str, ...]]
    read: Callable[[Sequence[Path]], list[Example]]
    shards: bool = False
    wanted: Mapping[str, str] = field(default_factory=dict)

    def find(self, folder: Path, split: str) -> list[Path]:
        """The split's files, in order; empty when this layout is not there."""
        for pattern in self.files.get(split, ()):
            found = sorted(path for path in folder.glob(pattern) if path.is_file())
            if len(found) > 1 and not self.shards:
                names = ", ".join(path.name for path in found)
                raise DataError(f"{folder}: {names} all fit '{pattern}'; leave the one that is meant")
            if found:
                return found
        return []

    def looked_for(self, split: str) -> str:
        return f"{self.wanted.get(split) or ' or '.join(self.files[split])} ({self.name})"


def hub_layout(
    hub: str, splits: Mapping[str, Sequence[str]], read: Callable[[Sequence[Path]], list[Example]], *configs: str
) -> Layout:
    """The form a hub serves: parquet (or Arrow, or JSON lines) by split, maybe in a folder of the configuration's name.

    splits   split -> what the hub calls it, several names when there are several such datasets
    configs  names of the configuration, which are folders
    """
    files: dict[str, tuple[str, ...]] = {}
    for split, names in splits.items():
        folders = [f"{folder}/" for folder in (*configs, "data")] + [""]
        endings = ("-*.parquet", "-*.arrow", ".parquet", "/*.parquet", "/*.arrow", ".jsonl")
        files[split] = tuple(f"{folder}{name}{ending}" for name in names for folder in folders for ending in endings)
    config = f"{configs[0]}/" if configs else ""
    wanted = {split: " or ".join(f"{config}{name}-*.parquet" for name in names) for split, names in splits.items()}
    return Layout(f"as on the hub, {hub}", files, read, shards=True, wanted=wanted)


def read_layouts(benchmark: str, folder: Path, split: str, layouts: Sequence[Layout]) -> list[Example]:
    """The examples of a split, from the first layout whose files lie in `folder`.

    Raises UsageError for a split that no layout has, DataError when no layout is there or its files are wrong.
    """
    splits = list(dict.fromkeys(name for layout in layouts for name in layout.files))
    if split not in splits:
        raise UsageError(f"{benchmark} has no split '{split}'{nearest(split, splits)}; there are: {', '.join(splits)}")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; `kosmos eval prepare {benchmark}` says how to obtain its files")
    for layout in layouts:
        found = layout.find(folder, split)
        if found:
            examples = layout.read(found)
            if not examples:
                raise DataError(f"{', '.join(str(path) for path in found)}: no examples in it")
            named = (replace(example, meta={**example.meta, "layout": layout.name}) for example in examples)
            return unique_ids(named)
    looked_for = "; ".join(layout.looked_for(split) for layout in layouts if split in layout.files)
    raise DataError(
        f"{folder}: {benchmark}'s {split} split is not here: looked for {looked_for}; {_listing(folder)}; "
        f"`kosmos eval prepare {benchmark}` says how to obtain its files"
    )


def cluster_key(shared: str) -> str:
    """A short name for what examples share (a passage, a goal), the same in every run."""
    return hashlib.sha256(shared.encode()).hexdigest()[:16]


def unique_ids(examples: Iterable[Example]) -> list[Example]:
    """The same examples; an id that has been there gets "#2", "#3" behind it."""
    seen: dict[str, int] = {}
    named: list[Example] = []
    for example in examples:
        count = seen[example.id] = seen.get(example.id, 0) + 1
        named.append(example if count == 1 else replace(example, id=f"{example.id}#{count}"))
    return named


def _listing(folder: Path) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    if not names:
        return "the folder is empty"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"there are {', '.join(names[:_LISTED])}{more}"
