"""Which reader a file is for, by its name and its first bytes; a guess is always told, and `--reader` overrules it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kosmos.data.readers.compressed import DamagedFile, read_chunks
from kosmos.data.readers.files import find_shards, open_binary
from kosmos.errors import ConfigError, DataError

HEAD = 1 << 16  # bytes that are looked at, after decompression
_NOT_DATA = (".kosmos-index", ".sha256", "_stats.json", "_failed.jsonl", "prepare.json", ".md", ".yaml")
_PICTURES = ("jpg", "jpeg", "png", "webp", "gif")
_ASK = "name it with --reader"


@dataclass(frozen=True)
class Guess:
    """A reader's name, and what about the file made it so."""

    reader: str
    reason: str


def guess_reader(path: str) -> Guess:
    """The reader for a file, or by the first one of a folder or pattern. Raises DataError when nothing fits."""
    file = _first_file(path)
    with open_binary(file) as stream:
        start = stream.read(4)
        stream.seek(0)
        if start == b"PAR1":
            return _by_columns(file, _parquet_columns(stream, file))
        if _is_tar(stream):
            return _by_members(stream, file)
    return _by_text(file, _unpacked(file))


def _first_file(path: str) -> str:
    """The first of the files that hold data."""
    for file in find_shards(path, ("",)):
        name = file.rpartition("/")[2]
        if not name.startswith(".") and not name.endswith(_NOT_DATA):
            return file
    raise DataError(f"{path}: no data file there")


def _is_tar(stream: BinaryIO) -> bool:
    stream.seek(257)
    found = stream.read(5) == b"ustar"
    stream.seek(0)
    return found


def _unpacked(file: str) -> bytes:
    """The first bytes of the content, whatever it is packed in; as far as they go when the file is cut short."""
    head = b""
    try:
        for chunk in read_chunks(file):
            head += chunk
            if len(head) >= HEAD:
                break
    except DamagedFile as error:
        if not head:
            raise DataError(f"{file}: {error.why}: {error}") from error
    return head[:HEAD]


def _parquet_columns(stream: BinaryIO, file: str) -> dict[str, str]:
    """Column -> its type, in words."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError("parquet files need pyarrow: pip install 'kosmos[data]'") from error
    try:
        schema = parquet.read_schema(stream)
    except pyarrow.ArrowException as error:
        raise DataError(f"{file}: a damaged parquet file: {str(error).splitlines()[0]}") from error
    return {field.name: str(field.type) for field in schema}


def _by_columns(file: str, columns: dict[str, str]) -> Guess:
    names = set(columns)
    if {"images", "texts"} <= names:
        return Guess("obelics", "columns images and texts")
    if columns.get("image", "").startswith("struct"):
        return Guess("pairs_parquet", "a column image that holds bytes")
    if {"URL", "TEXT"} <= names:
        return Guess("laion", "columns URL and TEXT")
    if {"url", "text", "image_phash"} <= names:
        return Guess("coyo", "columns url, text and image_phash")
    if "text" in names:
        return Guess("parquet", "a column text")
    raise DataError(f"{file}: no known form has the columns {', '.join(columns)}; {_ASK} and the column with --field")


def _by_members(stream: BinaryIO, file: str) -> Guess:
    """By the members of a tar's first record."""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                suffix = member.name.rpartition("/")[2].partition(".")[2].lower()
                if suffix == "json":
                    fields = _object((archive.extractfile(member) or io.BytesIO()).read())
                    if {"texts", "images"} <= set(fields):
                        return Guess("interleaved_tar", "a member .json with texts and images")
                elif suffix in _PICTURES:
                    return Guess("pairs_tar", f"a picture member (.{suffix}) of its own")
                elif suffix.rpartition(".")[2] in _PICTURES:
                    return Guess("interleaved_tar", f"a member .{suffix}")
    except tarfile.TarError as error:
        raise DataError(f"{file}: a damaged tar: {error}") from error
    raise DataError(f"{file}: the tar holds no picture; {_ASK}")


def _by_text(file: str, head: bytes) -> Guess:
    if head.startswith(b"WARC/"):
        if b"WARC-Type: conversion" in head or ".wet" in file:
            return Guess("wet", "WARC records of plain text")
        raise DataError(f"{file}: web pages (WARC): `kosmos data pages` makes documents of them")
    whole = head.decode("utf-8", errors="ignore")
    lines = [line for line in whole.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{file}: the file is empty")
    if lines[0].lstrip().startswith("{") or ".json" in Path(file).name:
        return _by_keys(file, _object(lines[0].encode()))
    cells = lines[0].split("\t")
    if len(cells) == 2 and _is_address(cells[1]):
        return Guess("cc3m", "caption, tab, address")
    if len(cells) == 2 and _is_address(cells[0]):
        return Guess("cc12m", "address, tab, caption")
    if "\0" in whole:
        raise DataError(f"{file}: neither text nor a known container; {_ASK}")
    blank = any(not line.strip() for line in whole.rstrip().splitlines())
    return Guess("text_blocks", "text with blank lines") if blank else Guess("text", "text without blank lines")


def _by_keys(file: str, fields: dict[str, Any]) -> Guess:
    forms: Sequence[tuple[str, set[str]]] = (
        ("mmc4", {"text_list", "image_info"}),
        ("instructions", {"instruction", "output"}),
        ("jsonl", {"text"}),
    )
    for reader, keys in forms:
        if keys <= set(fields):
            return Guess(reader, "keys " + " and ".join(sorted(keys)) if len(keys) > 1 else "a key text")
    keys_there = ", ".join(list(fields)[:8]) or "none, or the first line is damaged"
    raise DataError(f"{file}: no known form has these keys: {keys_there}; {_ASK} and the key with --field")


def _is_address(cell: str) -> bool:
    return cell.startswith(("http://", "https://"))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
