"""Where records lie in a file: found by one pass, kept beside it as `NAME.kosmos-index`, and mapped into memory.

A sidecar that does not fit the file is made again. Where the folder cannot be written, sidecars live in the cache.
Remote files are not scanned by a run: their sidecars are made by `kosmos data prepare`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kosmos.data.readers.files import (
    INDEX_SUFFIX,
    content_sample,
    file_size,
    fingerprint,
    is_url,
    open_binary,
    read_range,
    write_file,
)
from kosmos.data.readers.tar_headers import tar_members
from kosmos.data.sidecar import Sidecar, SidecarWriter, UnusableSidecar, atomic_file, with_meta
from kosmos.errors import DataError, StorageError

# Smaller files are scanned anew each time: that is as fast, and leaves no file behind.
SMALLEST_BYTES = 1 << 20
_SCAN_BYTES = 1 << 22

logger = logging.getLogger(__name__)


class SpanIndex:
    """Byte spans of the records of a text file."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._rows = sidecar.rows("spans")

    def __len__(self) -> int:
        return self._rows

    def span(self, record: int) -> tuple[int, int]:
        """(start, end) of a record, in bytes."""
        start, end = self._sidecar.read("spans", record, record + 1)[0].tolist()
        return start, end


class TarIndex:
    """Keys and members of the records of a tar, in the order in which the keys first appear.

    A tar that is cut short has one more record, without key and members.
    """

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._keys = sidecar.rows("key_ends")
        self.cut_short = bool(sidecar.meta["cut_short"])
        ends = sidecar.read("suffix_ends", 0, sidecar.rows("suffix_ends"))
        text = sidecar.read("suffix_text", 0, sidecar.rows("suffix_text")).tobytes()
        self._suffixes = [_name(text[start:end]) for start, end in zip([0, *ends[:-1].tolist()], ends.tolist())]

    def __len__(self) -> int:
        return self._keys + self.cut_short

    def key(self, record: int) -> str:
        """The key of a record; "end" for the damaged end of the tar."""
        if record == self._keys and self.cut_short:
            return "end"
        start, end = self._bounds("key_ends", record)
        return _name(self._sidecar.read("key_text", start, end).tobytes())

    def members(self, record: int) -> dict[str, tuple[int, int]] | None:
        """suffix -> (offset, size) in bytes; None for the damaged end of the tar."""
        if record == self._keys and self.cut_short:
            return None
        start, end = self._bounds("member_ends", record)
        rows = self._sidecar.read("members", start, end).tolist()
        return {self._suffixes[suffix]: (offset, size) for suffix, offset, size in rows}

    def _bounds(self, name: str, record: int) -> tuple[int, int]:
        if record == 0:
            return 0, int(self._sidecar.read(name, 0, 1)[0])
        start, end = self._sidecar.read(name, record - 1, record + 1).tolist()
        return start, end


def line_index(path: str) -> SpanIndex:
    """Spans of the lines that are not blank. Raises DataError."""
    return SpanIndex(_open(path, "lines"))


def block_index(path: str) -> SpanIndex:
    """Spans of the pieces of a text that blank lines separate. Raises DataError."""
    return SpanIndex(_open(path, "blocks"))


def tar_index(path: str) -> TarIndex:
    """Keys and members of a tar. Raises DataError when it is no tar."""
    return TarIndex(_open(path, "tar"))


def prepare_index(path: str, kind: str) -> int:
    """Make the sidecar of a file, small or remote too, if there is none that fits; how many records it holds.

    `kind`: "lines", "blocks" or "tar". Raises DataError, StorageError.
    """
    sidecar = _kept(path, kind) or _make(path, kind)
    if is_url(path):
        _share(path, sidecar)
    return len(TarIndex(sidecar) if kind == "tar" else SpanIndex(sidecar))


def is_indexed(path: str, kind: str) -> bool:
    """Whether opening the file scans nothing, or so little that it does not matter. Raises DataError."""
    # What lies beside a remote file is fetched at once, or refused in words.
    return is_url(path) or file_size(path) < SMALLEST_BYTES or _kept(path, kind) is not None


def check_index(path: str, kind: str) -> bool:
    """Whether a new scan of the file finds what its kept sidecar says; True where none is kept. Raises DataError."""
    kept = _kept(path, kind)
    if kept is None:
        return True
    with tempfile.TemporaryFile() as file:
        _scan(path, kind, SidecarWriter(file))
        file.flush()
        scanned = Sidecar(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path)
    return kept.same_arrays(scanned)


def _open(path: str, kind: str) -> Sidecar:
    if sidecar := _kept(path, kind):
        return sidecar
    small = file_size(path) < SMALLEST_BYTES
    if is_url(path):
        fetched = _fetch(path, kind, required=not small)
        if fetched is not None:
            return fetched
    if small:
        held = io.BytesIO()
        _scan(path, kind, SidecarWriter(held))
        return Sidecar(held.getvalue(), f"{path} (index in memory)")
    with _alone(path):
        # Another process may have made it while this one waited.
        return _kept(path, kind) or _make(path, kind)


def _places(path: str) -> list[Path]:
    """Where the sidecar may lie on this machine, the better place first."""
    name = path if is_url(path) else os.path.realpath(path)
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    cached = _cache() / f"{digest}{INDEX_SUFFIX}"
    return [cached] if is_url(path) else [Path(path + INDEX_SUFFIX), cached]


def _cache() -> Path:
    from kosmos.data.picturebook.packages import cache_directory

    return cache_directory() / "indices"


def _kept(path: str, kind: str) -> Sidecar | None:
    """The sidecar on this machine, if it is about what the file holds now."""
    now = fingerprint(path)
    for place in _places(path):
        with contextlib.suppress(UnusableSidecar):
            sidecar = Sidecar.open(place)
            if (sidecar.meta["kind"], sidecar.meta["fingerprint"]) == (kind, now):
                return sidecar
    return None


def _fetch(path: str, kind: str, required: bool) -> Sidecar | None:
    """The sidecar that lies beside a remote file, copied into the cache. Raises DataError when it cannot be used."""
    hint = f"run `kosmos data prepare` on {path} first"
    name = path + INDEX_SUFFIX
    try:
        data = read_range(name, 0, file_size(name))
    except DataError as error:
        if not required:
            return None
        raise DataError(f"{path}: no index beside the remote file: {hint}") from error
    try:
        sidecar = Sidecar(data, name)
    except UnusableSidecar as error:
        raise DataError(f"{path}: the index beside the remote file cannot be used ({error}): {hint}") from error
    if sidecar.meta["kind"] != kind or sidecar.meta["sample"] != content_sample(path, file_size(path)):
        raise DataError(f"{path}: the index beside the remote file is of another content: {hint}")
    [place] = _places(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as file:
            # From now on the server's own mark tells whether it still fits.
            file.write(with_meta(data, fingerprint=fingerprint(path)))
    except OSError as error:
        logger.warning("%s: cannot keep the index in the cache (%s), it is fetched each time", path, error)
    return sidecar


def _make(path: str, kind: str) -> Sidecar:
    """Scan the file and keep the sidecar in the first place that can be written."""
    reason = ""
    for place in _places(path):
        try:
            if place.parent != Path(path).parent:
                place.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(place) as file:
                _scan(path, kind, SidecarWriter(file))
            return Sidecar.open(place)
        except OSError as error:
            reason = f"{place}: {error.strerror or error}"
    raise StorageError(f"{path}: cannot write its index ({reason}); set KOSMOS_CACHE to a folder that can be written")


def _share(path: str, sidecar: Sidecar) -> None:
    """Put the sidecar beside a remote file, so that other machines need not scan it."""
    try:
        write_file(path + INDEX_SUFFIX, sidecar.content())
    except DataError as error:
        logger.warning("%s: the index stays in this machine's cache: %s", path, error)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Let one process of this machine scan a file while the others wait for what it finds."""
    handle = -1
    try:
        _cache().mkdir(parents=True, exist_ok=True)
        handle = os.open(_places(path)[-1].with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        # Some network disks know no locks: then each scans for itself, and the last one's equal file stays.
        logger.debug("%s: no lock: %s", path, error)
    try:
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _scan(path: str, kind: str, writer: SidecarWriter) -> None:
    before = fingerprint(path)
    size = file_size(path)
    with open_binary(path) as file:
        try:
            meta = _SCANS[kind](path, file, size, writer)
        except OSError as error:
            raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    if fingerprint(path) != before:
        raise DataError(f"{path}: the file changes while it is read; start again when it is complete")
    writer.finish({"kind": kind, "fingerprint": before, "sample": content_sample(path, size), **meta})


def _scan_lines(path: str, file: BinaryIO, size: int, writer: SidecarWriter) -> dict[str, object]:
    start = position = 0
    writer.append("spans", np.zeros((0, 2), np.int64))
    while True:
        chunk = file.read(_SCAN_BYTES)
        ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10).astype(np.int64) + position
        position += len(chunk)
        if not chunk:
            ends = np.array([position], np.int64)
        if len(ends):
            spans = np.stack([np.concatenate([[start], ends[:-1] + 1]), ends], axis=1)
            # A line of one byte or none ("\n", "\r\n") holds no JSON object.
            writer.append("spans", spans[spans[:, 1] - spans[:, 0] > 1])
            start = int(ends[-1]) + 1
        if not chunk:
            return {}


def _scan_blocks(path: str, file: BinaryIO, size: int, writer: SidecarWriter) -> dict[str, object]:
    position, start, end = 0, -1, 0
    spans: list[tuple[int, int]] = []
    writer.append("spans", np.zeros((0, 2), np.int64))
    for line in iter(lambda: file.readline(_SCAN_BYTES), b""):
        stripped = line.rstrip()
        if stripped:
            if start < 0:
                start = position
            end = position + len(stripped)
        elif start >= 0 and line.endswith(b"\n"):
            spans.append((start, end))
            start = -1
        position += len(line)
        if len(spans) == 1 << 16:
            writer.append("spans", np.array(spans, np.int64))
            spans = []
    if start >= 0:
        spans.append((start, end))
    if spans:
        writer.append("spans", np.array(spans, np.int64))
    return {}


def _scan_tar(path: str, file: BinaryIO, size: int, writer: SidecarWriter) -> dict[str, object]:
    suffixes: dict[str, int] = {}
    records: dict[str, dict[int, tuple[int, int]]] = {}
    cut_short = False
    for member in tar_members(file, size, path):
        if not member.name:
            cut_short = True
            break
        key, suffix = split_name(member.name)
        if key and suffix:
            # A member that comes twice counts as its last copy, as tar itself unpacks it.
            records.setdefault(key, {})[suffixes.setdefault(suffix, len(suffixes))] = (member.offset, member.size)
    rows = [(suffix, *place) for members in records.values() for suffix, place in members.items()]
    writer.append("members", np.array(rows, np.int64).reshape(-1, 3))
    writer.append("member_ends", np.cumsum([len(members) for members in records.values()], dtype=np.int64))
    for name, texts in (("key", records), ("suffix", suffixes)):
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        writer.append(f"{name}_text", np.frombuffer(b"".join(encoded), np.uint8))
        writer.append(f"{name}_ends", np.cumsum([len(text) for text in encoded], dtype=np.int64))
    return {"cut_short": cut_short}


def split_name(name: str) -> tuple[str, str]:
    """(key, suffix) of a tar member: its path up to the file name's first dot, and the rest in small letters.

    Names without a suffix and hidden files belong to no record: one of the two is empty.
    """
    folder, _, file = name.removeprefix("./").rpartition("/")
    stem, _, suffix = file.partition(".")
    return (f"{folder}/{stem}" if folder and stem else stem), suffix.lower()


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


_SCANS = {"lines": _scan_lines, "blocks": _scan_blocks, "tar": _scan_tar}
