from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.data.readers import compressed
from kosmos.data.readers.compressed import DamagedFile, plain_name, read_chunks, read_lines

CONTENT = b"".join(b"line %d %s\n" % (number, b"x" * (number * 37 % 90)) for number in range(300))


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a.jsonl", content)
    return out.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".zip": zipped,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packed")


def lines_until_damage(path: Path) -> tuple[list[bytes | None], str | None]:
    lines: list[bytes | None] = []
    try:
        for offset, line in read_lines(str(path)):
            assert line is None or CONTENT[offset : offset + len(line)] == line
            lines.append(line)
    except DamagedFile as error:
        return lines, error.why
    return lines, None


@pytest.mark.parametrize("ending", PACK)
def test_what_was_packed_comes_out(place: Path, ending: str) -> None:
    path = place / f"whole.jsonl{ending}"
    path.write_bytes(PACK[ending](CONTENT))
    assert b"".join(read_chunks(str(path))).rstrip(b"\n") == CONTENT.rstrip(b"\n")
    assert [line for line in lines_until_damage(path)[0] if line] == CONTENT.splitlines()
    assert plain_name(str(path)) == str(place / "whole.jsonl")


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2", ".xz"])
def test_several_streams_one_behind_the_other(place: Path, ending: str) -> None:
    path = place / f"several{ending}"
    half = CONTENT.index(b"\n", 5000) + 1
    path.write_bytes(PACK[ending](CONTENT[:half]) + PACK[ending](CONTENT[half:]))
    assert lines_until_damage(path) == (CONTENT.splitlines(), None)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ending=st.sampled_from(sorted(PACK)), share=st.floats(0.0, 0.999))
def test_cut_anywhere_all_whole_lines_before_come_out(place: Path, ending: str, share: float) -> None:
    path = place / f"cut{ending}"
    data = PACK[ending](CONTENT)
    path.write_bytes(data[: int(len(data) * share)])
    found, why = lines_until_damage(path)
    whole = CONTENT.splitlines()
    assert found == whole[: len(found)]
    if path.stat().st_size:
        assert why in ("compressed file cut short", "compressed file damaged")
    assert (found, why) == lines_until_damage(path)


def test_a_cut_gzip_keeps_most_of_its_lines(place: Path) -> None:
    for ending in (".gz", ".zip"):
        path = place / f"tail{ending}"
        data = PACK[ending](CONTENT)
        path.write_bytes(data[: int(len(data) * 0.8)])
        found, why = lines_until_damage(path)
        assert len(found) > 150
        assert why == "compressed file cut short"


@pytest.mark.parametrize("ending", PACK)
def test_flipped_bits_are_found(place: Path, ending: str) -> None:
    path = place / f"flipped{ending}"
    data = bytearray(PACK[ending](CONTENT))
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))
    lines, why = [], None
    try:
        lines = [line for _, line in read_lines(str(path))]
    except DamagedFile as error:
        why = error.why
    assert why in ("compressed file cut short", "compressed file damaged"), len(lines)


@pytest.mark.parametrize("ending", PACK)
def test_what_is_no_such_file(place: Path, ending: str) -> None:
    path = place / f"other{ending}"
    path.write_bytes(b"plain text, and more of it\n" * 40)
    assert lines_until_damage(path) == ([], "compressed file damaged")


def test_zeros_behind_a_gzip_are_padding(place: Path) -> None:
    path = place / "padded.gz"
    path.write_bytes(gzip.compress(CONTENT) + bytes(2000))
    assert lines_until_damage(path) == (CONTENT.splitlines(), None)


def test_a_zip_of_several_files_keeps_their_lines_apart(place: Path) -> None:
    path = place / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("folder")
        archive.writestr("folder/a", "one\ntwo")
        archive.writestr("b", "three\n")
    assert [line for _, line in read_lines(str(path)) if line] == [b"one", b"two", b"three"]


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2", ".xz"])
def test_a_bomb_is_taken_out_in_small_pieces(place: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "MAX_RECORD_BYTES", 1 << 20)
    path = place / f"bomb{ending}"
    path.write_bytes(PACK[ending](bytes(24 << 20) + b"\nlast\n"))
    if ending != ".zst":
        assert max(len(chunk) for chunk in read_chunks(str(path))) <= 4 << 20
    assert list(read_lines(str(path))) == [(0, None), ((24 << 20) + 1, b"last")]
