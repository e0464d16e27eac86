"""Unpacking archives from the web: nothing is written outside of the folder, and not more than was expected."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from kosmos.errors import DataError, StorageError

_MAX_MEMBERS = 500_000
_CHUNK = 1 << 20
_TEMPORARY = ".unpacking-"

Member = tuple[str, IO[bytes]]


def unpack(archive: Path, folder: Path, wanted: Sequence[str], strip: str = "", max_bytes: int = 1 << 30) -> list[Path]:
    """Unpack the members of a zip, tar or tgz whose names, without the prefix `strip`, match one of `wanted`.

    They come to lie in `folder` all together when all are written; files of the same names are replaced. Returns their
    paths. Raises DataError for a damaged archive, an unsafe name or link, for more than `max_bytes` in all, and when
    nothing matches.
    """
    for leftover in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(leftover)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder))
        try:
            names = _write_members(archive, temporary, wanted, strip, max_bytes)
            for name in names:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary / name, target)
        finally:
            shutil.rmtree(temporary)
    except OSError as error:
        raise StorageError(f"{folder}: cannot unpack {archive.name}: {error.strerror or error}") from error
    return [folder / name for name in names]


def _write_members(archive: Path, folder: Path, wanted: Sequence[str], strip: str, max_bytes: int) -> list[str]:
    written: list[str] = []
    seen = left = 0
    left = max_bytes
    with _opened(archive) as members:
        for full, source in members:
            seen += 1
            if seen > _MAX_MEMBERS:
                raise DataError(f"{archive}: more than {_MAX_MEMBERS:,} files in it")
            name = _safe(archive, full).removeprefix(strip)
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted):
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                while chunk := _read(archive, full, source):
                    left -= len(chunk)
                    if left < 0:
                        raise DataError(f"{archive}: unpacks to more than {max_bytes:,} bytes; it is not what it seems")
                    out.write(chunk)
            written.append(name)
    if not written:
        raise DataError(f"{archive}: nothing in it is named {' or '.join(wanted)}; has the dataset changed?")
    return list(dict.fromkeys(written))


def _read(archive: Path, name: str, source: IO[bytes]) -> bytes:
    try:
        return source.read(_CHUNK)
    except (zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive}: damaged at {name}: {error}; remove it and fetch it again") from error


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Member]]:
    """The files in an archive: name and open content, one after the other."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                yield _zip_members(archive, file)
        else:
            with tarfile.open(archive, "r|*") as tar:
                yield _tar_members(archive, tar)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(f"{archive}: is no whole archive: {error}; remove it and fetch it again") from error


def _zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[Member]:
    for info in file.infolist():
        if info.is_dir():
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{archive}: {info.filename} is a link; such archives are not unpacked")
        if info.flag_bits & 1:
            raise DataError(f"{archive}: {info.filename} is encrypted; unpack it by hand")
        with file.open(info) as source:
            yield info.filename, source


def _tar_members(archive: Path, tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        if info.isdir():
            continue
        source = tar.extractfile(info) if info.isreg() else None
        if source is None:
            raise DataError(f"{archive}: {info.name} is a link or a device; such archives are not unpacked")
        yield info.name, source


def _safe(archive: Path, name: str) -> str:
    """The name below the folder. Raises DataError for one that leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
        raise DataError(f"{archive}: the name {name!r} leads out of the folder; such archives are not unpacked")
    return str(path)
