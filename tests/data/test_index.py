"""The index against a plain reading of the same file."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.data import index, sidecar
from kosmos.data.index import block_index, line_index, prepare_index, split_name, tar_index
from kosmos.data.readers.files import INDEX_SUFFIX, read_range
from kosmos.errors import DataError, StorageError


@pytest.fixture(autouse=True)
def small_files_have_sidecars(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSMOS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(index, "SMALLEST_BYTES", 0)


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def spans(found: index.SpanIndex) -> list[tuple[int, int]]:
    return [found.span(record) for record in range(len(found))]


def write_tar(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = number + 1
            archive.addfile(info, io.BytesIO(bytes([number]) * (number + 1)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b" ", b"\0"]), max_size=30).map(b"".join))
def test_lines(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_bytes(data)
        expected = [line for line in data.split(b"\n") if len(line) > 1]
        for _ in range(2):  # once by scanning, once from the sidecar
            assert [data[start:end] for start, end in spans(line_index(str(path)))] == expected
        assert Path(f"{path}{INDEX_SUFFIX}").is_file()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b" \n", b"\t"]), max_size=30).map(b"".join))
def test_blocks(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes(data)
        lines = [line.rstrip() for line in data.split(b"\n")]
        blocks = re.split(rb"\n{2,}", b"\n".join(lines).strip(b"\n"))
        found = [data[start:end] for start, end in spans(block_index(str(path)))]
        assert [b"\n".join(line.rstrip() for line in block.split(b"\n")) for block in found] == [b for b in blocks if b]


def test_lines_longer_than_what_is_read_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_SCAN_BYTES", 7)
    path = place / "a.jsonl"
    path.write_bytes(b"a" * 30 + b"\n" + b"b" * 6 + b"\n\n" + b"c" * 20)
    assert spans(line_index(str(path))) == [(0, 30), (31, 37), (39, 59)]
    assert spans(block_index(str(path))) == [(0, 37), (39, 59)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(names=st.lists(st.text("ab./é", min_size=1, max_size=12), max_size=12))
def test_tars(names: list[str]) -> None:
    names = [f"f{name}".rstrip("/") for name in names]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar"
        write_tar(path, names)
        expected: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                key, suffix = split_name(member.name)
                opened = archive.extractfile(member)
                if key and suffix and opened is not None:
                    expected.setdefault(key, {})[suffix] = opened.read()
        for _ in range(2):
            found = tar_index(str(path))
            got = {}
            for record in range(len(found)):
                members = found.members(record)
                assert members is not None
                got[found.key(record)] = {s: read_range(str(path), at, at + n) for s, (at, n) in members.items()}
            assert (list(got), got) == (list(expected), expected)
            assert not found.cut_short


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("000.jpg", ("000", "jpg")),
        ("./000.JPG", ("000", "jpg")),
        ("a.b/000.0.png", ("a.b/000", "0.png")),
        ("../x.txt", ("../x", "txt")),
        ("/abs/x.txt", ("/abs/x", "txt")),
        ("._000.jpg", ("", "_000.jpg")),
        ("README", ("README", "")),
        ("a/.hidden", ("", "hidden")),
    ],
)
def test_names_of_members(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_a_member_that_comes_twice_counts_as_its_last_copy(place: Path) -> None:
    write_tar(place / "a.tar", ["k.txt", "other.txt", "k.txt", "README", "._k.txt"])
    found = tar_index(str(place / "a.tar"))
    assert [found.key(record) for record in range(len(found))] == ["k", "other"]
    members = found.members(0)
    assert members is not None and members["txt"][1] == 3


def test_a_changed_file_gets_a_new_index(place: Path) -> None:
    path = place / "a.jsonl"
    path.write_bytes(b"aa\nbb\n")
    assert len(line_index(str(path))) == 2
    path.write_bytes(b"aa\nbb\ncc\n")
    assert len(line_index(str(path))) == 3
    os.utime(path, ns=(1, 1))
    before = Path(f"{path}{INDEX_SUFFIX}").stat().st_ino
    assert len(line_index(str(path))) == 3
    assert Path(f"{path}{INDEX_SUFFIX}").stat().st_ino != before
    # Another kind of index over the same file takes its place.
    assert len(block_index(str(path))) == 1


def test_every_flipped_bit_of_an_index_is_found(place: Path) -> None:
    path = place / "a.jsonl"
    path.write_bytes(b"aa\n" * 20_000)
    expected = spans(line_index(str(path)))
    kept = Path(f"{path}{INDEX_SUFFIX}")
    good = kept.read_bytes()
    assert len(good) > 4 << 16
    for at in (0, 9, 20, 4096, 100_000, len(good) - 1):
        kept.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        if at < 4096:  # the header is checked at once, and a damaged one is made again
            assert spans(line_index(str(path))) == expected
            assert kept.read_bytes() == good
        else:
            with pytest.raises(StorageError, match=r"a\.jsonl\.kosmos-index: the index is damaged; delete it"):
                spans(line_index(str(path)))
    for content in (b"", b"x", good[:-1], good + b"x"):
        kept.write_bytes(content)
        assert spans(line_index(str(path))) == expected


def _open_and_count(path: str, queue: multiprocessing.Queue[int]) -> None:
    index.SMALLEST_BYTES = 0
    queue.put(len(line_index(path)))


def test_two_processes_may_make_it_at_once(place: Path) -> None:
    path = place / "a.jsonl"
    path.write_bytes(b"abc\n" * 100_000)
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    processes = [context.Process(target=_open_and_count, args=(str(path), queue)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [100_000] * 3
    for process in processes:
        process.join()
    assert sorted(file.name for file in place.iterdir()) == ["a.jsonl", "a.jsonl.kosmos-index"]


def test_where_the_folder_cannot_be_written_the_cache_keeps_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place / "a.jsonl"
    path.write_bytes(b"aa\nbb\n")
    real = sidecar.atomic_file

    def refuse(target: Path) -> object:
        if target.parent == place:
            raise PermissionError(13, "Permission denied")
        return real(target)

    monkeypatch.setattr(index, "atomic_file", refuse)
    assert len(line_index(str(path))) == 2
    assert [file.name for file in place.iterdir()] == ["a.jsonl"]
    kept = Path(os.environ["KOSMOS_CACHE"]) / "indices"
    [copy] = kept.glob(f"*{INDEX_SUFFIX}")
    before = copy.stat().st_ino
    assert len(line_index(str(path))) == 2
    assert copy.stat().st_ino == before
    monkeypatch.setenv("KOSMOS_CACHE", str(place / "a.jsonl" / "no"))
    with pytest.raises(StorageError, match="cannot write its index .*; set KOSMOS_CACHE"):
        line_index(str(path))


def test_small_files_leave_no_index_behind(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SMALLEST_BYTES", 1 << 20)
    path = place / "a.jsonl"
    path.write_bytes(b"aa\nbb\n")
    assert spans(line_index(str(path))) == [(0, 2), (3, 5)]
    assert [file.name for file in place.iterdir()] == ["a.jsonl"]
    assert prepare_index(str(path), "lines") == 2
    assert Path(f"{path}{INDEX_SUFFIX}").is_file()


def test_remote_files_need_an_index_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    path = "memory:///remote/a.jsonl"
    memory.pipe_file("/remote/a.jsonl", b"aa\nbb\n")
    with pytest.raises(DataError, match=r"no index beside the remote file: run `kosmos data prepare` on memory:///rem"):
        line_index(path)
    assert prepare_index(path, "lines") == 2
    assert memory.exists("/remote/a.jsonl.kosmos-index")
    for name in ("one", "two"):  # other machines fetch it, and each keeps its copy
        monkeypatch.setenv("KOSMOS_CACHE", os.environ["KOSMOS_CACHE"] + name)
        assert spans(line_index(path)) == [(0, 2), (3, 5)]
    memory.rm("/remote/a.jsonl.kosmos-index")
    assert spans(line_index(path)) == [(0, 2), (3, 5)]
    memory.pipe_file("/remote/a.jsonl", b"aa\nbb\ncc\n")
    with pytest.raises(DataError, match="no index beside"):
        line_index(path)
    assert prepare_index(path, "lines") == 3
    memory.pipe_file("/remote/a.jsonl", b"aa\nbc\ncc\n")
    monkeypatch.setenv("KOSMOS_CACHE", os.environ["KOSMOS_CACHE"] + "three")
    with pytest.raises(DataError, match="the index beside the remote file is of another content"):
        line_index(path)
    memory.pipe_file("/remote/a.jsonl.kosmos-index", b"broken")
    with pytest.raises(DataError, match=r"cannot be used \(not an index\)"):
        line_index(path)
