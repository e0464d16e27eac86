"""What a reader sees: records of any form on disk in their order, and what is to be known of a picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from kosmos.config import CorpusConfig
from kosmos.data.readers import SEQUENTIAL, BadRecord, Reader, open_reader
from kosmos.data.readers.files import COMPRESSED, is_url
from kosmos.data.readers.records import to_document
from kosmos.document import Document, Image
from kosmos.errors import ImageError

_MAY_BE_COMPRESSED = ("jsonl", "instructions", "text", "text_blocks")
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


@dataclass(frozen=True)
class Seen:
    """One good record. A picture that is still to be fetched is an Image of its address, a str."""

    where: str
    document: Document


def look(reader: str, path: str, field: str = "") -> Iterator[Seen | BadRecord]:
    """The records of a file, folder or pattern, one after the other, compressed files and URL tables too.

    Raises ConfigError for an unknown reader, DataError for missing files.
    """
    from kosmos.data.readers.sequential import records

    for raw in records(reader, path, field):
        yield raw if isinstance(raw, BadRecord) else Seen(raw.where, to_document(raw))


def files_of(reader: str, path: str, field: str = "") -> list[str]:
    """The files that hold the records; none for records that are generated. Raises DataError when they are missing."""
    if reader in SEQUENTIAL or reader in _MAY_BE_COMPRESSED:
        from kosmos.data.readers.sequential import input_files

        return input_files(reader, path)
    shards = open_reader(CorpusConfig(reader, path, field=field), 0).shards()
    return [shard for shard in shards if is_url(shard) or Path(shard).is_file()]


def open_addressed(reader: str, path: str, field: str = "") -> Reader | None:
    """The reader as training opens it; None where the files can only be read from the front.

    Raises ConfigError for an unknown reader, DataError for missing files.
    """
    if reader in SEQUENTIAL or any(file.endswith(COMPRESSED) for file in files_of(reader, path, field)):
        return None
    return open_reader(CorpusConfig(reader, path, field=field), 0)


def read_one(reader: Reader, shard: str, record: int) -> Seen | BadRecord:
    """One record as training meets it in the first epoch."""
    document = reader.read(shard, record, 0)
    return document if isinstance(document, BadRecord) else Seen(f"{shard} record {record}", document)


@dataclass(frozen=True)
class PictureFacts:
    """What the header says: `form` is png, jpeg, webp, gif, or pixels for a drawn picture; `bytes` as stored."""

    form: str
    width: int
    height: int
    bytes: int


def address_of(image: Image) -> str | None:
    """Where a picture that is still to be fetched is to be had; None when it is here."""
    return image.source if isinstance(image.source, str) else None


def picture_facts(image: Image) -> PictureFacts:
    """The facts of a picture that is here; nothing but its header is decoded. Raises ImageError."""
    if isinstance(image.source, np.ndarray):
        height, width = image.source.shape[:2]
        return PictureFacts("pixels", width, height, image.source.nbytes)
    if isinstance(image.source, PIL.Image.Image):
        return PictureFacts("pixels", *image.source.size, len(image.source.tobytes()))
    data = image.data or b""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            return PictureFacts(str(opened.format).lower(), *opened.size, len(data))
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise ImageError(f"{image.where}: no header of a PNG, JPEG, WEBP or GIF picture") from error
