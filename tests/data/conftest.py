"""Files in the forms that readers take."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import PIL.Image
import pytest

from tests.data.words import WordProcessor


@pytest.fixture
def processor() -> WordProcessor:
    return WordProcessor()


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[[str, Iterable[object]], Path]:
    """Write objects, or raw bytes, as the lines of a file."""

    def write(name: str, lines: Iterable[object]) -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(x if isinstance(x, bytes) else json.dumps(x).encode() + b"\n" for x in lines))
        return path

    return write


@pytest.fixture
def write_tar(tmp_path: Path) -> Callable[[str, Iterable[tuple[str, bytes]]], Path]:
    """Write (member name, bytes) pairs as a tar."""

    def write(name: str, members: Iterable[tuple[str, bytes]]) -> Path:
        path = tmp_path / name
        with tarfile.open(path, "w") as archive:
            for member, data in members:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def png() -> Callable[[tuple[int, int, int]], bytes]:
    """A PNG of one colour."""

    def make(colour: tuple[int, int, int]) -> bytes:
        out = io.BytesIO()
        PIL.Image.new("RGB", (8, 6), colour).save(out, "PNG")
        return out.getvalue()

    return make
