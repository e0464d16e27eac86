from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kosmos.data.tar_writer import InterleavedTarWriter, PairsTarWriter, ShardWriter, record_key
from kosmos.errors import DataError, UsageError

Png = Callable[[tuple[int, int, int]], bytes]


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path, "r:") as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_interleaved_members_and_layout(tmp_path: Path, png: Png) -> None:
    red, blue = png((255, 0, 0)), png((0, 0, 255))
    with InterleavedTarWriter(tmp_path / "a.tar") as tar:
        tar.add("0", [None, "ein Bär", None], [red, None, blue], supervised=[False, True, False], meta={"url": "x"})
    found = members(tmp_path / "a.tar")
    assert list(found) == ["0.json", "0.0.png", "0.1.png"]
    assert json.loads(found["0.json"]) == {
        "url": "x",
        "texts": [None, "ein Bär", None],
        "images": ["0.png", None, "1.png"],
        "supervised": [False, True, False],
    }
    assert (found["0.0.png"], found["0.1.png"]) == (red, blue)


def test_pairs_members(tmp_path: Path, png: Png) -> None:
    red = png((255, 0, 0))
    with PairsTarWriter(tmp_path / "a.tar") as tar:
        tar.add("000000000", red, "a red one", {"width": 8})
    found = members(tmp_path / "a.tar")
    assert list(found) == ["000000000.png", "000000000.txt", "000000000.json"]
    assert found["000000000.txt"] == b"a red one"
    info = json.loads(found["000000000.json"])
    assert (info["caption"], info["width"], info["status"]) == ("a red one", 8, "success")


def test_same_records_same_bytes(tmp_path: Path, png: Png) -> None:
    for name in ("a.tar", "b.tar"):
        with PairsTarWriter(tmp_path / name) as tar:
            tar.add("0", png((1, 2, 3)), "one")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert {(m.mtime, m.uid, m.uname, m.mode) for m in archive} == {(0, 0, "", 0o644)}


def test_nothing_is_left_after_an_error(tmp_path: Path, png: Png) -> None:
    with pytest.raises(RuntimeError, match="stop"), PairsTarWriter(tmp_path / "a.tar") as tar:
        tar.add("0", png((1, 2, 3)), "one")
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_shards_roll_over_by_records_and_bytes(tmp_path: Path, png: Png) -> None:
    with ShardWriter(tmp_path / "n", PairsTarWriter, prefix="part-", max_records=2) as shards:
        for number in range(5):
            tar, key = shards.next()
            tar.add(key, png((number, 0, 0)), str(number))
    assert [path.name for path in shards.paths] == ["part-00000.tar", "part-00001.tar", "part-00002.tar"]
    assert shards.records == 5
    assert [name for name in members(shards.paths[1]) if name.endswith("txt")] == ["000010000.txt", "000010001.txt"]

    with ShardWriter(tmp_path / "b", PairsTarWriter, max_bytes=1) as small:
        for number in range(3):
            tar, key = small.next()
            tar.add(key, png((number, 0, 0)), str(number))
    assert [path.name for path in small.paths] == ["00000.tar", "00001.tar", "00002.tar"]


def test_sizes_counted_are_those_on_disk(tmp_path: Path, png: Png) -> None:
    with PairsTarWriter(tmp_path / "a.tar") as tar:
        for number in range(40):
            tar.add(str(number), png((number, 0, 0)), "x" * number)
    # tar ends with at least two empty blocks and fills up to 20 of them.
    assert 0 <= (tmp_path / "a.tar").stat().st_size - tar.bytes - 1024 < 10240


def test_keys_are_wide_enough_to_sort() -> None:
    assert record_key(12, 34, 10_000) == "000120034"
    assert record_key(0, 99_999, 100_000) == "0000099999"


def test_refused_records(tmp_path: Path, png: Png) -> None:
    red = png((255, 0, 0))
    pairs = PairsTarWriter(tmp_path / "p.tar")
    pairs.add("0", red, "one")
    with pytest.raises(UsageError, match="written before"):
        pairs.add("0", red, "again")
    with pytest.raises(UsageError, match="without dots"):
        pairs.add("a.b", red, "one")
    with pytest.raises(DataError, match="not a PNG"):
        pairs.add("1", b"<html>", "one")
    with pytest.raises(DataError, match="UTF-8"):
        pairs.add("1", red, "\ud800")
    pairs.discard()
    documents = InterleavedTarWriter(tmp_path / "d.tar")
    with pytest.raises(UsageError, match="one length"):
        documents.add("0", ["a"], [])
    with pytest.raises(UsageError, match="a text or an image"):
        documents.add("0", ["a"], [red])
    documents.commit()
    with pytest.raises(UsageError, match="finished"):
        documents.add("0", ["a"], [None])
    assert [path.name for path in tmp_path.iterdir()] == ["d.tar"]


def test_a_tar_is_read_as_a_stream_too(tmp_path: Path, png: Png) -> None:
    with PairsTarWriter(tmp_path / "a.tar") as tar:
        for number in range(3):
            tar.add(str(number), png((number, 0, 0)), "x")
    data = (tmp_path / "a.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as archive:
        assert sum(1 for _ in archive) == 9
