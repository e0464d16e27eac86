"""Every form from front to back: what `kosmos data prepare`, `inspect`, `stats` and `fetch` read.

Streaming: compressed files too, and tables of URLs whose pictures must still be fetched.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from kosmos.config import CorpusConfig
from kosmos.data.readers import BadRecord, Reader, open_reader, reader_names
from kosmos.data.readers import url_tables as tables
from kosmos.data.readers.compressed import DamagedFile, plain_name, read_chunks, read_lines
from kosmos.data.readers.files import COMPRESSED, find_shards
from kosmos.data.readers.jsonl import SUFFIXES as JSONL_SUFFIXES
from kosmos.data.readers.jsonl import JsonlInstructions, JsonlText
from kosmos.data.readers.plain_text import SUFFIXES as TEXT_SUFFIXES
from kosmos.data.readers.plain_text import parse_text
from kosmos.data.readers.records import MAX_RECORD_BYTES, Kind, RawRecord
from kosmos.data.readers.wet import wet_records
from kosmos.document import Document, Image, Text
from kosmos.errors import ConfigError, nearest
from kosmos.images import decode_image

__all__ = ["RawRecord", "input_files", "records", "records_of_file"]

Found = Iterator[RawRecord | BadRecord]
ParseLine = Callable[[bytes, str, str], RawRecord | BadRecord]

_LINES: dict[str, ParseLine] = {
    "jsonl": JsonlText.parse,
    "instructions": JsonlInstructions.parse,
    "mmc4": lambda line, where, field: tables.mmc4(line, where),
}
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "jsonl": JSONL_SUFFIXES,
    "instructions": JSONL_SUFFIXES,
    "mmc4": JSONL_SUFFIXES,
    "text": TEXT_SUFFIXES,
    "text_blocks": TEXT_SUFFIXES,
    "wet": (".wet", ".warc"),
    "cc3m": (".tsv",),
    "cc12m": (".tsv",),
    "laion": (".parquet",),
    "coyo": (".parquet",),
    "obelics": (".parquet",),
}


def records(reader: str, path: str, field: str = "") -> Found:
    """All records behind `path` in order, shard by shard; a damaged file ends in one BadRecord.

    Raises ConfigError for an unknown reader, DataError for missing files.
    """
    if reader in _SUFFIXES:
        for file in input_files(reader, path):
            yield from records_of_file(reader, file, field)
    elif reader in reader_names() or reader.startswith("picturebook."):
        yield from _addressed(open_reader(CorpusConfig(reader, path, field=field), seed=0))
    else:
        raise ConfigError(f"no reader '{reader}'{nearest(reader, reader_names())}")


def input_files(reader: str, path: str) -> list[str]:
    """The files that a form consists of, in order; where a file is there compressed and plain, the plain one."""
    plain = _SUFFIXES[reader]
    packed = tuple(suffix + ending for suffix in plain for ending in COMPRESSED)
    found = find_shards(path, plain + packed)
    return [file for file in found if file == plain_name(file) or plain_name(file) not in found]


def records_of_file(reader: str, file: str, field: str = "") -> Found:
    """The records of one file of `input_files`."""
    try:
        yield from _undamaged(reader, file, field)
    except DamagedFile as error:
        yield BadRecord(file, error.why, str(error))


def _undamaged(reader: str, file: str, field: str) -> Found:
    if reader in _LINES:
        yield from _lines(file, _LINES[reader], field)
    elif reader == "text":
        yield _whole(file)
    elif reader == "text_blocks":
        yield from _blocks(file)
    elif reader == "wet":
        yield from wet_records(file)
    elif reader in tables.TSV_COLUMNS:
        yield from tables.pair_lines(file, tables.TSV_COLUMNS[reader])
    elif reader == "obelics":
        yield from tables.obelics(file)
    else:
        yield from tables.pair_table(file, field)


def _lines(file: str, parse: ParseLine, field: str) -> Found:
    for offset, line in read_lines(file):
        where = f"{file} byte {offset}"
        if line is None:
            yield BadRecord(where, "record too large")
        elif len(line) > 1:
            yield parse(line, where, field)


def _whole(file: str) -> RawRecord | BadRecord:
    held = bytearray()
    for chunk in read_chunks(file):
        held += chunk
        if len(held) > MAX_RECORD_BYTES:
            return BadRecord(file, "record too large", f"more than {MAX_RECORD_BYTES:,} bytes")
    return parse_text(bytes(held), file)


def _blocks(file: str) -> Found:
    start, held, size = 0, list[bytes](), 0
    for offset, line in read_lines(file):
        if line is not None and not line.strip():
            if held:
                yield _block(file, start, held, size)
            held, size = [], 0
            continue
        if not size:
            start = offset
        held.append(line or b"")
        size += MAX_RECORD_BYTES + 1 if line is None else len(line) + 1
    if held:
        yield _block(file, start, held, size)


def _block(file: str, start: int, lines: list[bytes], size: int) -> RawRecord | BadRecord:
    where = f"{file} byte {start}"
    if size > MAX_RECORD_BYTES + 1:
        return BadRecord(where, "record too large")
    return parse_text(b"\n".join(lines).rstrip(), where)


def _addressed(reader: Reader) -> Found:
    """The records of a reader that training uses, in the order of its shards."""
    raw = getattr(reader, "raw", None)
    for shard in reader.shards():
        for record in range(reader.num_records(shard)):
            if raw is not None:
                yield raw(shard, record)
            else:
                found = reader.read(shard, record, 0)
                yield found if isinstance(found, BadRecord) else _from_document(found, f"{shard} record {record}")


def _from_document(document: Document, where: str) -> RawRecord:
    """What a reader that makes Documents gives, as a file would hold it; pixels become PNG."""
    segments = [segment for segment in document if isinstance(segment, Text | Image)]
    texts = tuple(segment.text if isinstance(segment, Text) else None for segment in segments)
    images = tuple(_encoded(segment) if isinstance(segment, Image) else None for segment in segments)
    kind: Kind = "interleaved" if any(image is not None for image in images) else "text"
    return RawRecord(where, kind, texts, images, {}, tuple(segment.supervised for segment in segments))


def _encoded(image: Image) -> bytes:
    if image.data is not None:
        return image.data
    out = io.BytesIO()
    decode_image(image).save(out, "PNG")
    return out.getvalue()
