"""Embeddings on disk: one file each, found by a key, checked when read; the least recently used are removed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from kosmos.errors import StorageError, UsageError
from kosmos.storage import make_folder, write_atomic

DEFAULT_MAX_BYTES = 20 << 30
# Inside the folder that the user names, so that nothing of the user's own is ever taken for an embedding.
FOLDER = "embeddings-1"
SUFFIX = ".embedding"

_MAGIC = b"kosmos-embedding-1\n"
_DIGEST_BYTES = 32
_DTYPES = {str(dtype): dtype for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)}
_NUM_FOLDERS = 256
# Folders are swept in groups that may hold this much; with fewer bytes, chance would fill some long before others.
_SMALLEST_GROUP = 64 << 20
# A file takes whole blocks of the disk.
_BLOCK = 4096
# What is older was left by a process that died while it wrote.
_TEMPORARY_SECONDS = 3600.0

logger = logging.getLogger(__name__)


class EmbeddingStore:
    """Tensors by key (a sha256 in hexadecimal) in a folder that several processes may use at once.

    A file is whole or absent, and carries a checksum: a damaged one counts as absent. Files lie in 256 folders by the
    first two letters of their key. `max_bytes` bounds them all (rounded up to the disk's blocks): where a group of
    folders has no room, its least recently used files go. Nothing but the folders about to be full is ever listed, so
    millions of files cost no time at the start. A further process may exceed its group's share by an eighth until it
    lists it again.

    When the disk refuses a file, nothing more is written, with one warning. Raises StorageError when the folder cannot
    be made or written at all, UsageError for a bound below 1.
    """

    def __init__(self, folder: str | Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        if max_bytes < 1:
            raise UsageError(f"the embeddings on disk are bounded to {max_bytes} bytes; it must be at least 1")
        self.folder = Path(folder) / FOLDER
        self._writes = True
        self._warned_of_damage = False
        self._folders_per_group = 1
        while self._folders_per_group < _NUM_FOLDERS and self._share(max_bytes) < _SMALLEST_GROUP:
            self._folders_per_group *= 2
        self._group_bytes = self._share(max_bytes)
        self._room: dict[int, int] = {}  # bytes that may be written to a group before it is listed again
        self._check_folder()

    @property
    def writes(self) -> bool:
        """False once the disk has refused a file."""
        return self._writes

    def get(self, key: str) -> Tensor | None:
        """The tensor of `key` on the CPU, or None where there is none, or a damaged one."""
        path = self._path(key)
        try:
            tensor = _unpack(key, path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if not self._warned_of_damage:
                logger.warning("%s: %s; this embedding, and others like it, are computed again", path, error)
            self._warned_of_damage = True
            return None
        # The time of the last use. Another process may have removed the file by now, which does no harm.
        with contextlib.suppress(OSError):
            os.utime(path)
        return tensor

    def put(self, key: str, tensor: Tensor) -> None:
        """Keep a tensor (of a float type), unless it is larger than a group's share or nothing can be written."""
        if not self._writes or str(tensor.dtype) not in _DTYPES:
            return
        data = _pack(key, tensor)
        if _on_disk(len(data)) > self._group_bytes:
            return
        path = self._path(key)
        try:
            self._make_room(key, _on_disk(len(data)))
            make_folder(path.parent)
            # Not forced onto the disk: what a crash of the machine damages, the checksum finds.
            write_atomic(path, data, durable=False)
        except (OSError, StorageError) as error:
            self._stop_writing(error)

    def _share(self, max_bytes: int) -> int:
        return max_bytes * self._folders_per_group // _NUM_FOLDERS

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}{SUFFIX}"

    def _check_folder(self) -> None:
        probe = self.folder / f".writable.{os.getpid()}"
        try:
            make_folder(self.folder)
            write_atomic(probe, b"", durable=False)
            probe.unlink(missing_ok=True)
        except (OSError, StorageError) as error:
            if not _is_full(error):
                raise StorageError(f"the image cache cannot be used: {error}") from error
            self._stop_writing(error)

    def _stop_writing(self, error: Exception) -> None:
        self._writes = False
        logger.warning("%s; no more embeddings are written to the image cache, those there are still read", error)

    def _make_room(self, key: str, size: int) -> None:
        group = int(key[:2], 16) // self._folders_per_group
        if self._room.get(group, -1) < size:
            self._room[group] = self._sweep(group, size)
        self._room[group] -= size

    def _sweep(self, group: int, size: int) -> int:
        """Remove a group's oldest files where `size` more bytes do not fit; how many bytes may be written now."""
        first = group * self._folders_per_group
        files = sorted(
            file
            for folder in range(first, first + self._folders_per_group)
            for file in _files(self.folder / f"{folder:02x}")
        )
        used = sum(num_bytes for _, num_bytes, _ in files)
        if used + size > self._group_bytes:
            # An eighth at a time, or every further file would list the group again.
            wanted = min(self._group_bytes - self._group_bytes // 8, self._group_bytes - size)
            for _, num_bytes, path in files:
                if used <= wanted:
                    break
                Path(path).unlink(missing_ok=True)
                used -= num_bytes
        # Other processes write too, so the room is looked at again after an eighth.
        return max(size, min(self._group_bytes - used, self._group_bytes // 8))


def _files(folder: Path) -> list[tuple[int, int, str]]:
    """(time of the last use, bytes on disk, path) of a folder's files; what dead processes left is removed."""
    found = []
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            status = entry.stat()
            if entry.name.startswith("."):
                if time.time() - status.st_mtime > _TEMPORARY_SECONDS:
                    os.unlink(entry.path)
            elif entry.name.endswith(SUFFIX):
                found.append((status.st_mtime_ns, _on_disk(status.st_size), entry.path))
    return found


def _on_disk(num_bytes: int) -> int:
    return -(-num_bytes // _BLOCK) * _BLOCK


def _is_full(error: BaseException) -> bool:
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def _pack(key: str, tensor: Tensor) -> bytes:
    values = tensor.detach().cpu().contiguous()
    header = json.dumps({"dtype": str(values.dtype), "shape": list(values.shape)}).encode() + b"\n"
    body = header + values.flatten().view(torch.uint8).numpy().tobytes()
    return _MAGIC + _digest(key, body) + body


def _unpack(key: str, data: bytes) -> Tensor:
    """Raises ValueError when `data` is not to the bit what `_pack` made of this key's tensor."""
    body = memoryview(data)[len(_MAGIC) + _DIGEST_BYTES :]
    if not data.startswith(_MAGIC) or data[len(_MAGIC) : len(_MAGIC) + _DIGEST_BYTES] != _digest(key, body):
        raise ValueError("damaged")
    end = data.index(b"\n", len(data) - len(body)) + 1
    header = json.loads(data[len(data) - len(body) : end])
    values = bytearray(memoryview(data)[end:])  # a copy that a tensor may own
    if math.prod(header["shape"]) == 0:
        return torch.empty(header["shape"], dtype=_DTYPES[header["dtype"]])
    return torch.frombuffer(values, dtype=_DTYPES[header["dtype"]]).view(header["shape"])


def _digest(key: str, body: bytes | memoryview) -> bytes:
    # With the key, so that a file under a wrong name is found too.
    digest = hashlib.sha256(key.encode())
    digest.update(body)
    return digest.digest()
