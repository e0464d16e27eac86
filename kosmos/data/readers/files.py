"""Which files a corpus consists of, and bytes out of them: on this machine, or at any address that fsspec knows."""

from __future__ import annotations

import functools
import glob
import hashlib
import io
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from kosmos.errors import ConfigError, DataError

Result = TypeVar("Result")

INDEX_SUFFIX = ".kosmos-index"
COMPRESSED = (".gz", ".zst", ".zip", ".bz2", ".xz")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif")

_OPEN_FILES = 128
_ATTEMPTS = 4
_FIRST_WAIT = 0.25
_REMOTE_BUFFER = 1 << 20
_SAMPLE_BYTES = 4096
_SAMPLES = 8


def is_url(path: str) -> bool:
    """Whether `path` is an address for fsspec rather than a local file. `file://` addresses count as URLs."""
    return "://" in path or "::" in path


def find_shards(path: str, suffixes: tuple[str, ...]) -> list[str]:
    """The files behind `path` in sorted order: one file, all of a folder that end so, or a pattern (`**` descends).

    `suffixes` matter for folders only. Raises DataError when there are none.
    """
    if is_url(path):
        found = _find_remote(path, suffixes)
    else:
        place = Path(path)
        if place.is_dir():
            found = [str(file) for file in place.iterdir() if file.name.endswith(suffixes) and file.is_file()]
            if not found:
                raise DataError(_nothing(path, suffixes, os.listdir(place)))
        elif place.is_file():
            return [str(place)]
        else:
            matches = [file for file in glob.glob(path, recursive=True) if Path(file).is_file()]
            # Links that lead in circles give the same file many names: the shortest stays.
            matches.sort(key=lambda file: (-len(file), file))
            found = list({os.path.realpath(file): file for file in matches}.values())
    found = sorted(file for file in found if not file.endswith(INDEX_SUFFIX))
    if not found:
        raise DataError(f"{path}: no such file or folder")
    return found


def _nothing(path: str, suffixes: tuple[str, ...], names: list[str]) -> str:
    message = f"{path}: the folder holds no *{suffixes[0]} file"
    if suffixes[0] == ".tar" and any(name.lower().endswith(_PICTURES) for name in names):
        message += f"; `kosmos data pack {path} OUT` makes tars of pictures with captions"
    elif any(os.path.isdir(os.path.join(path, name)) for name in names):
        message += f"; for those of its folders say {os.path.join(path, '**', '*' + suffixes[0])}"
    return message


def _find_remote(path: str, suffixes: tuple[str, ...]) -> list[str]:
    files, name = _filesystem(path)
    # In http addresses a question mark begins the query.
    is_pattern = any(mark in name for mark in "*[")

    def listed() -> list[str]:
        if is_pattern:
            return [str(entry) for entry in files.glob(name) if files.isfile(entry)]
        if not name.endswith("/") and files.isfile(name):
            return [name]
        if not files.exists(name):
            return []
        entries = [entry for entry in files.ls(name, detail=True) if entry["type"] == "file"]
        return [str(entry["name"]) for entry in entries if str(entry["name"]).endswith(suffixes)]

    return [_address(path, files, entry) for entry in _attempt(path, listed)]


def _address(path: str, files: Any, entry: str) -> str:
    """The full address of a name that a filesystem lists; the outer links of a chain (`simplecache::`) are kept."""
    chain, link, _ = path.rpartition("::")
    return f"{chain}{link}{entry if '://' in entry else files.unstrip_protocol(entry)}"


def read_range(path: str, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of a file; fewer only where the file ends before. Raises DataError."""
    if end <= start:
        return b""
    if is_url(path):
        files, name = _filesystem(path)
        return bytes(_attempt(path, lambda: files.cat_file(name, start=start, end=end)))
    try:
        handle = _open_files.get(path)
        data = os.pread(handle.number, end - start, start)
        # One call reads at most 2 GB, and less on some network disks.
        while len(data) < end - start:
            more = os.pread(handle.number, end - start - len(data), start + len(data))
            if not more:
                break
            data += more
        return data
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def open_binary(path: str) -> BinaryIO:
    """A file for reading from its beginning; it can seek. Raises DataError."""
    if is_url(path):
        files, name = _filesystem(path)
        # fsspec's own files know no bounded readline.
        return io.BufferedReader(_attempt(path, lambda: files.open(name, "rb")), _REMOTE_BUFFER)
    try:
        return open(path, "rb")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def write_file(path: str, data: bytes) -> None:
    """Write a remote file at once. Raises DataError where the address cannot be written, as most of http cannot."""
    files, name = _filesystem(path)
    try:
        files.pipe_file(name, data)
    except Exception as error:  # each of fsspec's filesystems raises its own kinds
        raise DataError(f"{path}: cannot write: {error!r}") from error


def file_size(path: str) -> int:
    """Bytes of a file. Raises DataError when it cannot be told."""
    if is_url(path):
        size = _remote_info(path).get("size")
        if size is None:
            raise DataError(f"{path}: the server does not tell the file's size; copy the file and read it from there")
        return int(size)
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def fingerprint(path: str) -> str:
    """What changes when the file does: size and time of change, or what the server tells. Raises DataError."""
    if is_url(path):
        info = _remote_info(path)
        marks = ("ETag", "etag", "md5Hash", "Content-MD5", "mtime", "LastModified", "Last-Modified", "last_modified")
        told = [f"{mark}={info[mark]}" for mark in (*marks, "created") if info.get(mark) is not None]
        return f"{info.get('size')} {' '.join(told)}"
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    # A file replaced under its name is another file, so an open handle on the old one must go.
    _open_files.drop_unless(path, (status.st_dev, status.st_ino))
    return f"{status.st_size} {status.st_mtime_ns}"


def content_sample(path: str, size: int) -> str:
    """A hash of a file's size and of small pieces spread over it: survives copying, which times and ETags do not."""
    digest = hashlib.sha256(str(size).encode())
    last = max(0, size - _SAMPLE_BYTES)
    for start in sorted({last * step // (_SAMPLES - 1) for step in range(_SAMPLES)}):
        digest.update(read_range(path, start, min(size, start + _SAMPLE_BYTES)))
    return digest.hexdigest()


class _OpenFile:
    """A descriptor that is closed when the last one who uses it lets go."""

    def __init__(self, path: str) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        status = os.fstat(self.number)
        self.identity = (status.st_dev, status.st_ino)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class _OpenFiles:
    """The files that were read last, open. `pread` keeps no position, so threads and forked processes may share."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str) -> _OpenFile:
        with self._lock:
            handle = self._files.get(path)
            if handle is None:
                handle = self._files[path] = _OpenFile(path)
                if len(self._files) > self._most:
                    self._files.popitem(last=False)
            else:
                self._files.move_to_end(path)
            return handle

    def drop_unless(self, path: str, identity: tuple[int, int]) -> None:
        with self._lock:
            handle = self._files.get(path)
            if handle is not None and handle.identity != identity:
                del self._files[path]


_open_files = _OpenFiles(_OPEN_FILES)


@functools.lru_cache(maxsize=1024)
def _filesystem_in(path: str, process: int) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ConfigError(f"{path}: remote files need fsspec: pip install 'kosmos[data]'") from error
    try:
        files, name = url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read such an address: {error}") from error
    return files, name


def _filesystem(path: str) -> tuple[Any, str]:
    """fsspec's filesystem for an address, and the name in it; made anew in a forked process."""
    return _filesystem_in(path, os.getpid())


def _remote_info(path: str) -> dict[str, Any]:
    files, name = _filesystem(path)
    return dict(_attempt(path, lambda: files.info(name)))


def _attempt(path: str, action: Callable[[], Result]) -> Result:
    """Try a remote action again after a pause: networks fail now and then. Raises DataError at last."""
    wait = _FIRST_WAIT
    for attempt in range(_ATTEMPTS):
        try:
            return action()
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file or folder") from error
        except PermissionError as error:
            raise DataError(f"{path}: cannot read: {error}") from error
        except Exception as error:  # each of fsspec's filesystems raises its own kinds
            if attempt == _ATTEMPTS - 1:
                raise DataError(f"{path}: cannot read after {_ATTEMPTS} attempts: {error!r}") from error
        time.sleep(wait)
        wait *= 4
    raise AssertionError("the last attempt returns or raises")
