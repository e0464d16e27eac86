"""Bytes and lines out of compressed files, in one pass; what stood before a damage is given out whole."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from kosmos.data.readers.files import COMPRESSED, open_binary
from kosmos.data.readers.records import MAX_RECORD_BYTES
from kosmos.errors import ConfigError, DataError

_CHUNK_BYTES = 1 << 20
# What is left after a member is copied for the next one, so files of many small members are read in small pieces.
_MEMBER_BYTES = 1 << 15
# A few bytes can stand for a terabyte of zeros; so much is taken out at once.
_MOST_AT_ONCE = 1 << 22
# zstandard's decompressor has no bound on what it gives out at once, so it is fed little.
_ZSTANDARD_BYTES = 1 << 13
_ZIP_MEMBER = b"PK\x03\x04"


class DamagedFile(Exception):
    """A file ends early or its content does not fit its checksum. `why` is the reason it is counted under."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.why = why


def plain_name(path: str) -> str:
    """The name without the ending of a compression."""
    return next((path[: -len(ending)] for ending in COMPRESSED if path.endswith(ending)), path)


def is_compressed(path: str) -> bool:
    return path.endswith(COMPRESSED)


def read_chunks(path: str) -> Iterator[bytes]:
    """The content of a file in pieces, decompressed by the ending of its name. Raises DamagedFile, DataError."""
    with open_binary(path) as file:
        try:
            if path.endswith(".gz"):
                yield from _members(file, lambda: zlib.decompressobj(wbits=31))
            elif path.endswith(".bz2"):
                yield from _members(file, bz2.BZ2Decompressor)
            elif path.endswith(".xz"):
                yield from _members(file, lzma.LZMADecompressor)
            elif path.endswith(".zst"):
                yield from _zstandard(path, file)
            elif path.endswith(".zip"):
                yield from _zip_members(file)
            else:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except (zlib.error, lzma.LZMAError) as error:
            raise DamagedFile("compressed file damaged", str(error)) from error
        except OSError as error:
            # bz2 says OSError of a damaged stream, without a number.
            if error.errno is None:
                raise DamagedFile("compressed file damaged", str(error)) from error
            raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def read_lines(path: str) -> Iterator[tuple[int, bytes | None]]:
    """(offset in the decompressed content, line without its newline), blank lines too; None for one too long to hold.

    A last line that a damage cut is not given out. Raises DamagedFile, DataError.
    """
    held, start = bytearray(), 0
    dropped = 0  # bytes of the current line that were let go because it is too long
    for chunk in read_chunks(path):
        held += chunk
        if b"\n" in chunk:
            lines = held.split(b"\n")
            held = lines.pop()
            for line in lines:
                too_long = dropped or len(line) > MAX_RECORD_BYTES
                yield start, None if too_long else bytes(line)
                start += dropped + len(line) + 1
                dropped = 0
        if dropped or len(held) > MAX_RECORD_BYTES:
            dropped += len(held)
            held = bytearray()
    if held or dropped:
        yield start, None if dropped else bytes(held)


def _members(file: BinaryIO, make: Callable[[], Any]) -> Iterator[bytes]:
    """Decompressed pieces of compressed streams that stand one behind the other, as each record of a WET file."""
    decompressor: Any = None
    while chunk := file.read(_MEMBER_BYTES):
        while chunk:
            if decompressor is None:
                # Files on tapes and some mirrors are padded with zeros.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                decompressor = make()
            data = decompressor.decompress(chunk, _MOST_AT_ONCE)
            while data:
                yield data
                data = b"" if decompressor.eof else decompressor.decompress(_pending(decompressor), _MOST_AT_ONCE)
            chunk = b""
            if decompressor.eof:
                chunk = decompressor.unused_data
                decompressor = None
    if decompressor is not None:
        raise DamagedFile("compressed file cut short", "the compressed stream has no end")


def _pending(decompressor: Any) -> bytes:
    """Input that is left after a bounded output: zlib hands it back, the others keep it."""
    left: bytes = getattr(decompressor, "unconsumed_tail", b"")
    return left


def _zstandard(path: str, file: BinaryIO) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise ConfigError(f"{path}: reading it needs zstandard: pip install 'kosmos[data]'") from error
    # The Pile and other long-distance archives ask for windows above the library's default.
    context = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    decompressor: Any = None
    try:
        while chunk := file.read(_ZSTANDARD_BYTES):
            while chunk:
                if decompressor is None:
                    decompressor = context.decompressobj()
                if data := decompressor.decompress(chunk):
                    yield data
                chunk = b""
                if decompressor.eof:
                    chunk = decompressor.unused_data
                    decompressor = None
    except zstandard.ZstdError as error:
        raise DamagedFile("compressed file damaged", str(error)) from error
    if decompressor is not None:
        raise DamagedFile("compressed file cut short", "the last frame has no end")


def _zip_members(file: BinaryIO) -> Iterator[bytes]:
    """The files of a zip archive one after the other, read from the front, so that a zip without its end helps too."""
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                with archive.open(member) as opened:
                    while chunk := opened.read(_CHUNK_BYTES):
                        yield chunk
                # The last line of a file does not run on into the next file.
                yield b"\n"
        return
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        reason = str(error)
        directory_lost = isinstance(error, zipfile.BadZipFile) and "not a zip file" in reason
    if not directory_lost:
        raise DamagedFile("compressed file damaged", reason)
    yield from _first_zip_member(file)
    raise DamagedFile("compressed file cut short", "the zip's list of files is missing")


def _first_zip_member(file: BinaryIO) -> Iterator[bytes]:
    """What is left of the first file of a zip archive that was cut short."""
    file.seek(0)
    header = file.read(30)
    if len(header) < 30 or not header.startswith(_ZIP_MEMBER):
        raise DamagedFile("compressed file damaged", "not a zip file")
    _, _, method, *_, name_length, extra_length = struct.unpack("<4xHHHHHIIIHH", header)
    file.seek(30 + name_length + extra_length)
    if method != 8:
        return
    decompressor = zlib.decompressobj(wbits=-15)
    while not decompressor.eof and (chunk := file.read(_CHUNK_BYTES)):
        while data := decompressor.decompress(chunk, _MOST_AT_ONCE):
            yield data
            chunk = decompressor.unconsumed_tail
