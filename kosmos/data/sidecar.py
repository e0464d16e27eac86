"""The file that keeps an index: arrays of numbers, mapped into memory, with a checksum for every 64 KiB.

Layout: a header of 4,096 bytes (magic, checksum, JSON), the arrays one behind the other, the checksums. Opening reads
the header only; a piece is checked when it is first used.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kosmos.errors import StorageError

_MAGIC = b"KOSMOSIX"
VERSION = 1
_HEADER_BYTES = 4096
_PIECE_BYTES = 1 << 16


class UnusableSidecar(Exception):
    """The file is missing, damaged, of another version, or about another content."""


class SidecarWriter:
    """Writes arrays, in the order they are given, into a file that can seek; `finish` writes the header."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file.write(bytes(_HEADER_BYTES))
        self._arrays: dict[str, list[Any]] = {}
        self._size = 0
        self._checksums: list[int] = []
        self._piece = 0  # bytes in the piece that is being summed
        self._checksum = 0

    def append(self, name: str, values: np.ndarray) -> None:
        """Add rows to an array: the one being written, or a new one."""
        if name not in self._arrays:
            self._write(bytes(-self._size % 64))
            self._arrays[name] = [values.dtype.str, self._size, 0, list(values.shape[1:])]
        assert name == next(reversed(self._arrays)), "arrays are written one after the other"
        self._arrays[name][2] += len(values)
        self._write(values.tobytes())

    def finish(self, meta: dict[str, Any]) -> None:
        """Write the checksums and the header."""
        if self._piece:
            self._checksums.append(self._checksum)
        self._file.write(np.array(self._checksums, np.uint32).tobytes())
        self._file.seek(0)
        self._file.write(_header({"version": VERSION, "size": self._size, "arrays": self._arrays, "meta": meta}))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._size += len(data)
        start = 0
        while start < len(data):
            part = data[start : start + _PIECE_BYTES - self._piece]
            self._checksum = zlib.crc32(part, self._checksum)
            self._piece += len(part)
            start += len(part)
            if self._piece == _PIECE_BYTES:
                self._checksums.append(self._checksum)
                self._piece = self._checksum = 0


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes its name at the end of the block, and leaves nothing when that fails. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; others train on the same data.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def with_meta(data: bytes, **changes: Any) -> bytes:
    """A sidecar's bytes with other entries in its meta."""
    header = _parse(data[:_HEADER_BYTES])
    header["meta"] |= changes
    return _header(header) + data[_HEADER_BYTES:]


class Sidecar:
    """An open index file. Raises UnusableSidecar when it cannot be used."""

    def __init__(self, content: bytes | mmap.mmap, name: str) -> None:
        self._content = content
        self._name = name
        header = _parse(content[:_HEADER_BYTES])
        count = -(-header["size"] // _PIECE_BYTES)
        if len(content) != _HEADER_BYTES + header["size"] + 4 * count:
            raise UnusableSidecar("its size is wrong")
        self.meta: dict[str, Any] = header["meta"]
        self._arrays = header["arrays"]
        self._size = header["size"]
        self._checksums = np.frombuffer(content, np.uint32, count, _HEADER_BYTES + self._size)
        self._checked = np.zeros(count, np.bool_)
        self._views: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, path: Path) -> Sidecar:
        """Map a sidecar's file. Raises UnusableSidecar."""
        try:
            with open(path, "rb") as file:
                return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), str(path))
        except (OSError, ValueError) as error:
            raise UnusableSidecar(str(error)) from error

    def content(self) -> bytes:
        """The whole file."""
        return bytes(self._content)

    def same_arrays(self, other: Sidecar) -> bool:
        """Whether both hold the same arrays, byte for byte; their meta may differ."""
        mine, others = memoryview(self._content)[_HEADER_BYTES:], memoryview(other._content)[_HEADER_BYTES:]
        return self._arrays == other._arrays and mine == others

    def rows(self, name: str) -> int:
        """How many rows an array has."""
        return int(self._arrays[name][2])

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of an array. Raises StorageError when they are damaged."""
        dtype, offset, rows, shape = self._arrays[name]
        if not 0 <= start <= stop <= rows:
            raise IndexError(f"rows {start} to {stop} of {rows}")
        view = self._views.get(name)
        if view is None:
            items = rows * int(np.prod(shape, dtype=np.int64))
            view = np.frombuffer(self._content, dtype, items, _HEADER_BYTES + offset).reshape(rows, *shape)
            self._views[name] = view
        if stop > start:
            width = view.nbytes // rows
            self._check(offset + start * width, offset + stop * width)
        return view[start:stop]

    def _check(self, start: int, stop: int) -> None:
        for piece in range(start // _PIECE_BYTES, (stop - 1) // _PIECE_BYTES + 1):
            if not self._checked[piece]:
                first = _HEADER_BYTES + piece * _PIECE_BYTES
                last = min(first + _PIECE_BYTES, _HEADER_BYTES + self._size)
                if zlib.crc32(memoryview(self._content)[first:last]) != self._checksums[piece]:
                    raise StorageError(f"{self._name}: the index is damaged; delete it, and it will be made again")
                self._checked[piece] = True


def _header(fields: dict[str, Any]) -> bytes:
    raw = json.dumps(fields).encode()
    if len(raw) > _HEADER_BYTES - 16:
        raise ValueError("the header of an index is too long")
    return (_MAGIC + struct.pack("<II", zlib.crc32(raw), len(raw)) + raw).ljust(_HEADER_BYTES, b"\0")


def _parse(head: bytes) -> dict[str, Any]:
    if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
        raise UnusableSidecar("not an index")
    checksum, length = struct.unpack("<II", head[8:16])
    raw = head[16 : 16 + length]
    if zlib.crc32(raw) != checksum:
        raise UnusableSidecar("its header is damaged")
    header: dict[str, Any] = json.loads(raw)
    if header["version"] != VERSION:
        raise UnusableSidecar(f"it is of version {header['version']}")
    return header
