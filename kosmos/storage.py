"""What is on disk is whole or absent: atomic writes, and manifests that prove a folder undamaged."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from kosmos.errors import StorageError

MANIFEST = "MANIFEST.sha256"
# Said of a .bin file that torch does not read as tensors: torch's own message advises to run the code in it.
PICKLED = "damaged, or it holds more than tensors, which is not read as it may run code; ask for safetensors"


def write_atomic(path: str | Path, data: bytes | Iterable[bytes], durable: bool = True) -> None:
    """Write `data`, whole or in pieces, to `path` so that a reader sees the old file or the new one, never a part.

    Not `durable`: a crash of the machine (not of the process) may leave a damaged file. The folder must exist. Raises
    StorageError when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; give them what `open` would have given.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StorageError(
            f"{path}: cannot write: {error.strerror or error}; free some space or choose another folder"
        ) from error


def remove_unwritten(path: str | Path) -> None:
    """Remove what `write_atomic` to this path has left when the process was killed in it."""
    path = Path(path)
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents. Raises StorageError when that cannot be done."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot create the folder: {error.strerror or error}") from error
    return path


def sync_tree(folder: str | Path) -> None:
    """Have everything below `folder` on the disk, so that a crash of the machine loses none of it. Raises OSError."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(path) / name)
        sync(path)


def commit_folder(temporary: Path, final: Path) -> None:
    """Give a finished folder its name, once all of it is on the disk. Raises StorageError when that cannot be done."""
    try:
        sync_tree(temporary)
        temporary.rename(final)
        sync(final.parent)
    except OSError as error:
        raise StorageError(f"{final}: cannot write the folder: {error.strerror or error}") from error


def sync(path: str | Path) -> None:
    """Have one file, or the names in one folder, on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_sha256(path: str | Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: str | Path) -> Path:
    """List every file below `folder` with its sha256 in MANIFEST.sha256 (the form `sha256sum -c` reads)."""
    folder = Path(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    try:
        lines = "".join(f"{file_sha256(p)}  {p.relative_to(folder).as_posix()}\n" for p in files)
    except OSError as error:
        raise StorageError(f"{folder}: cannot read back what was written: {error.strerror or error}") from error
    write_atomic(folder / MANIFEST, lines.encode())
    return folder / MANIFEST


def check_manifest(folder: str | Path, under: str = "") -> None:
    """Check the files of `folder` against its MANIFEST.sha256; `under` limits it to one sub-folder, as "weights".

    A changed byte of the manifest itself is an error too. Raises StorageError that names the first file that is missing
    or changed, or the manifest itself.
    """
    folder = Path(folder)
    manifest = folder / MANIFEST
    digests = _read_manifest(manifest)
    if under:
        digests = {name: digest for name, digest in digests.items() if name.startswith(f"{under}/")}
        # What the manifest does not know of may be what it lost.
        found = (path for path in sorted((folder / under).rglob("*")) if path.is_file())
        unknown = next((path for path in found if path.relative_to(folder).as_posix() not in digests), None)
        if digests and unknown is not None:
            raise StorageError(f"{unknown}: is not in {MANIFEST}; remove it, or take another copy of the folder")
    for name, digest in digests.items():
        try:
            actual = file_sha256(folder / name)
        except (OSError, ValueError) as error:  # a damaged name may be none at all
            reason = getattr(error, "strerror", None) or error
            raise StorageError(f"{folder / name}: {reason}; the manifest lists it") from error
        if actual != digest:
            raise StorageError(f"{folder / name}: damaged: its sha256 is not the one in {MANIFEST}")
    if not digests:
        raise StorageError(f"{manifest}: lists no file" + (f" under {under}/" if under else ""))


def _read_manifest(manifest: Path) -> dict[str, str]:
    """sha256 by name. Raises StorageError when it is not to the byte what `write_manifest` writes."""
    try:
        text = manifest.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{manifest}: cannot be read, so the folder is not known to be whole") from error
    digests: dict[str, str] = {}
    *lines, rest = text.split("\n")
    for line in [*lines, rest] if rest else lines:
        digest, separator, name = line.partition("  ")
        if not separator or not re.fullmatch("[0-9a-f]{64}", digest) or not name or name in digests:
            raise StorageError(f"{manifest}: damaged line {line[:80]!r}")
        digests[name] = digest
    if rest:
        raise StorageError(f"{manifest}: its end is missing")
    return digests


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
