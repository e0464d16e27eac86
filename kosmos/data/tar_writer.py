"""Writers of the tars that `pairs_tar` and `interleaved_tar` read; webdataset and Energon read them too.

pairs          key.jpg (or png, webp, gif), key.txt, key.json
interleaved    key.json {"texts": [text or null], "images": [name or null]}, then key.0.jpg, key.1.png, ...

The same records give the same bytes: members carry no time, owner or machine. A tar gets its name only when it is
whole; until then it is a hidden file beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from kosmos.errors import DataError, StorageError, UsageError
from kosmos.storage import make_folder, sync

SHARD_DIGITS = 5  # of the number in a shard's name, as img2dataset writes it
MAX_BYTES = 1 << 30
_BLOCK = 512  # a tar is made of these: one for a member's header, then its data
_LONGEST_KEY = 80  # the name of a member takes 100

_SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"RIFF", "webp"), (b"GIF8", "gif"))


def picture_suffix(data: bytes) -> str:
    """`jpg`, `png`, `webp` or `gif` by the first bytes. Raises DataError for anything else."""
    for signature, suffix in _SIGNATURES:
        if data.startswith(signature):
            return suffix
    raise DataError(f"not a PNG, JPEG, WEBP or GIF picture: it starts with {data[:8]!r}; decode it before writing")


class TarWriter:
    """One tar being written. As a context manager it commits at the end and discards after an exception.

    Raises StorageError when the disk is full or the folder cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.records = 0
        self.bytes = 0
        self._keys: set[str] = set()
        make_folder(self.path.parent)
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".part")
            # mkstemp makes files that only their owner reads; a corpus is shared.
            os.chmod(name, 0o644)
        except OSError as error:
            raise self._storage_error(error) from error
        self._part = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._open = True

    def commit(self) -> Path:
        """Finish the tar and give it its name. Calling it again does nothing."""
        if self._open:
            try:
                end = self.bytes + 2 * _BLOCK  # two empty blocks end a tar, and whole groups of blocks are usual
                self._file.write(bytes(2 * _BLOCK + -end % tarfile.RECORDSIZE))
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                os.replace(self._part, self.path)
                sync(self.path.parent)
            except OSError as error:
                self.discard()
                raise self._storage_error(error) from error
            self._open = False
        return self.path

    def discard(self) -> None:
        """Throw away what was written, unless it is committed already."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):  # a full disk; the part is removed all the same
                self._file.close()
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def _add_record(self, key: str, members: Sequence[tuple[str, bytes]]) -> None:
        if not key or len(key) > _LONGEST_KEY or "." in key or "/" in key or not key.isascii():
            raise UsageError(
                f"{key!r}: the key of a record is ASCII without dots and slashes, at most {_LONGEST_KEY} of it"
            )
        if key in self._keys:
            raise UsageError(f"{self.path}: the key {key} was written before; a reader would mix the two records")
        self._keys.add(key)
        for suffix, data in members:
            self._add_member(f"{key}.{suffix}", data)
        self.records += 1

    def _add_member(self, name: str, data: bytes) -> None:
        if not self._open:
            raise UsageError(f"{self.path}: the tar is finished; nothing can be added")
        member = tarfile.TarInfo(name)
        member.size = len(data)
        member.mode = 0o644
        try:
            # Not tarfile.addfile: it remembers every member, and a shard can hold millions.
            self._file.write(member.tobuf(tarfile.USTAR_FORMAT))
            self._file.write(data)
            self._file.write(bytes(-len(data) % _BLOCK))
        except OSError as error:
            raise self._storage_error(error) from error
        self.bytes += _BLOCK + -(-len(data) // _BLOCK) * _BLOCK

    def _storage_error(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path}: cannot write: {error.strerror or error}; free some space or choose another folder"
        )


class PairsTarWriter(TarWriter):
    """Pictures with captions, in the form img2dataset writes."""

    def add(self, key: str, picture: bytes, caption: str, meta: Mapping[str, Any] | None = None) -> None:
        """Write one pair; `meta` goes into key.json. Raises DataError for an unknown picture or a lone surrogate."""
        info = {**(meta or {}), "caption": caption, "key": key, "status": "success", "error_message": None}
        members = [
            (picture_suffix(picture), picture),
            ("txt", _encoded(caption, self.path, key)),
            ("json", _json(info, self.path, key)),
        ]
        self._add_record(key, members)


class InterleavedTarWriter(TarWriter):
    """Documents of texts and pictures in reading order."""

    def add(
        self,
        key: str,
        texts: Sequence[str | None],
        images: Sequence[bytes | None],
        supervised: Sequence[bool] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one document; at each place either `texts` or `images` holds something.

        `supervised` says for each place whether its text counts in the loss (default: all do); `meta` adds keys to
        key.json. Raises UsageError for lists that do not fit, DataError for an unknown picture or a lone surrogate.
        """
        if len(texts) != len(images) or (supervised is not None and len(supervised) != len(texts)):
            raise UsageError(f"record {key}: texts, images and supervised must be lists of one length")
        if any((text is None) == (image is None) for text, image in zip(texts, images, strict=True)):
            raise UsageError(f"record {key}: each place holds a text or an image")
        names: list[str | None] = []
        pictures: list[tuple[str, bytes]] = []
        for image in images:
            if image is None:
                names.append(None)
                continue
            pictures.append((f"{len(pictures)}.{picture_suffix(image)}", image))
            names.append(pictures[-1][0])
        layout: dict[str, Any] = {**(meta or {}), "texts": list(texts), "images": names}
        if supervised is not None:
            layout["supervised"] = [bool(value) for value in supervised]
        self._add_record(key, [("json", _json(layout, self.path, key)), *pictures])


W = TypeVar("W", bound=TarWriter)


class ShardWriter(Generic[W]):
    """Tars `{prefix}{number:05d}.tar` in a folder; a new one is begun when the present one is full.

    with ShardWriter(folder, InterleavedTarWriter) as shards:
        tar, key = shards.next()
        tar.add(key, texts, images)

    A key is the shard's number and the record's, so it is unique in the folder.
    """

    def __init__(
        self, folder: str | Path, kind: type[W], prefix: str = "", max_records: int = 10_000, max_bytes: int = MAX_BYTES
    ) -> None:
        if max_records < 1 or max_bytes < 1:
            raise UsageError("a shard holds at least one record and one byte")
        self.folder = Path(folder)
        self.paths: list[Path] = []
        self.records = 0
        self._kind = kind
        self._prefix = prefix
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._writer: W | None = None

    def next(self) -> tuple[W, str]:
        """The tar for the next record, and the key to add it under."""
        if self._writer is not None and (
            self._writer.records >= self._max_records or self._writer.bytes >= self._max_bytes
        ):
            self.commit()
        if self._writer is None:
            self._writer = self._kind(self.folder / f"{self._prefix}{len(self.paths):0{SHARD_DIGITS}d}.tar")
        return self._writer, record_key(len(self.paths), self._writer.records, self._max_records)

    def commit(self) -> None:
        """Finish the present tar; the next record begins another."""
        if self._writer is not None:
            self.paths.append(self._writer.commit())
            self.records += self._writer.records
            self._writer = None

    def discard(self) -> None:
        """Throw away the tar that is not full yet; finished ones stay."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


def record_key(shard: int, record: int, records_per_shard: int) -> str:
    """`000120034` for record 34 of shard 12 when a shard holds up to 10,000."""
    return f"{shard:0{SHARD_DIGITS}d}{record:0{max(4, len(str(records_per_shard - 1)))}d}"


def _encoded(text: str, path: Path, key: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: record {key}: the text is not encodable as UTF-8: {error.reason}") from error


def _json(value: Mapping[str, Any], path: Path, key: str) -> bytes:
    return _encoded(json.dumps(value, ensure_ascii=False), path, key)
