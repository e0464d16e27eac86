"""Atomic writes, and manifests that see every changed byte."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from kosmos.errors import StorageError
from kosmos.storage import (
    MANIFEST,
    check_manifest,
    commit_folder,
    file_sha256,
    make_folder,
    remove_unwritten,
    write_atomic,
    write_manifest,
)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"a\.txt: cannot write: File too large; free some space"):
            write_atomic(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot create the folder: Not a directory"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(StorageError, match="cannot write: No such file or directory"):
        write_atomic(tmp_path / "none" / "a", b"")
    assert make_folder(tmp_path / "a" / "b").is_dir() and make_folder(tmp_path / "a" / "b").is_dir()


def test_what_a_killed_write_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(*args: object) -> None:
        raise Killed

    write_atomic(tmp_path / "a.log", b"before")
    write_atomic(tmp_path / ".b.log.x", b"another file's")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", kill)
        write_atomic(tmp_path / "a.log", b"after")
    assert len(list(tmp_path.iterdir())) == 3
    remove_unwritten(tmp_path / "a.log")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.log.x", "a.log"]
    assert (tmp_path / "a.log").read_bytes() == b"before"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "state.json").write_text("{}")
    write_manifest(tmp_path)
    return tmp_path


def test_a_manifest_is_what_sha256sum_checks(folder: Path) -> None:
    lines = (folder / MANIFEST).read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["state.json", "weights/model.safetensors"]
    assert lines[0].split("  ")[0] == hashlib.sha256(b"{}").hexdigest()
    subprocess.run(["sha256sum", "--quiet", "-c", MANIFEST], cwd=folder, check=True)
    check_manifest(folder)
    check_manifest(folder, under="weights")
    write_manifest(folder)
    assert (folder / MANIFEST).read_text().splitlines() == lines


@pytest.mark.parametrize("place", [0, 100, 255])
@pytest.mark.parametrize("bit", [0, 7])
def test_one_flipped_bit_is_seen(folder: Path, place: int, bit: int) -> None:
    file = folder / "weights" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.write_bytes(data)
    for under in ("", "weights"):
        with pytest.raises(StorageError, match=r"model\.safetensors: damaged"):
            check_manifest(folder, under)


def test_what_is_outside_the_part_is_not_checked(folder: Path) -> None:
    (folder / "state.json").write_text("{ }")
    check_manifest(folder, under="weights")
    with pytest.raises(StorageError, match=r"state\.json: damaged"):
        check_manifest(folder)


def test_missing_files_and_manifests(folder: Path) -> None:
    with pytest.raises(StorageError, match="lists no file under optimizer/"):
        check_manifest(folder, under="optimizer")
    (folder / "state.json").unlink()
    with pytest.raises(StorageError, match=r"state\.json: No such file or directory; the manifest lists it"):
        check_manifest(folder)
    (folder / MANIFEST).write_text("nonsense\n")
    with pytest.raises(StorageError, match="damaged line 'nonsense'"):
        check_manifest(folder)
    for content in (b"", b"\xff\xfe"):
        (folder / MANIFEST).write_bytes(content)
        with pytest.raises(StorageError, match=MANIFEST):
            check_manifest(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(StorageError, match="not known to be whole"):
        check_manifest(folder)


@pytest.mark.parametrize("under", ["", "weights"])
def test_no_byte_of_the_manifest_can_change_unseen(folder: Path, under: str) -> None:
    whole = (folder / MANIFEST).read_bytes()
    for place in range(len(whole)):
        if under and place < whole.index(b"\n"):
            continue  # the line of a file outside of the part
        # A line break of another kind (\v), another case, what is no text, and no name of a file.
        for value in {whole[place] ^ flip for flip in (1, 0x20, 0x80)} | set(b"\0") - {whole[place]}:
            (folder / MANIFEST).write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            with pytest.raises(StorageError):
                check_manifest(folder, under)
    for length in set(range(1, len(whole))) - {whole.index(b"\n") + 1}:
        (folder / MANIFEST).write_bytes(whole[:length])
        with pytest.raises(StorageError):
            check_manifest(folder, under)


def test_a_folder_is_committed_whole_or_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a").write_text("x")
    commit_folder(tmp_path / "part", tmp_path / "whole")
    assert (tmp_path / "whole" / "a").read_text() == "x" and not (tmp_path / "part").exists()
    (tmp_path / "part").mkdir()
    with pytest.raises(StorageError, match="whole: cannot write the folder"):
        commit_folder(tmp_path / "part", tmp_path / "whole")  # taken, and not empty
    assert (tmp_path / "whole" / "a").read_text() == "x"
