from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kosmos.config import CorpusConfig
from kosmos.data.readers import BadRecord, Reader, open_reader
from kosmos.document import Document, Image, Text
from kosmos.errors import DataError

Write = Callable[..., Path]
Png = Callable[[tuple[int, int, int]], bytes]


def records(reader: Reader) -> list[Document | BadRecord]:
    return [reader.read(shard, n, 0) for shard in reader.shards() for n in range(reader.num_records(shard))]


def why(record: Document | BadRecord) -> str | None:
    return record.why if isinstance(record, BadRecord) else None


def test_pairs_as_img2dataset_writes_them(write_tar: Write, png: Png) -> None:
    red, blue = png((255, 0, 0)), png((0, 0, 255))
    info = json.dumps({"caption": "from json", "status": "success"}).encode()
    path = write_tar(
        "00000.tar",
        [
            ("000000000.png", red),
            ("000000000.txt", b"a red one\n"),
            ("000000000.json", info),
            ("000000001.png", blue),
            ("000000001.json", info),
        ],
    )
    found = records(open_reader(CorpusConfig("pairs_tar", str(path)), 0))
    assert found == [Document(Image(red), Text("a red one")), Document(Image(blue), Text("from json"))]


def test_bad_pairs(write_tar: Write) -> None:
    path = write_tar(
        "a.tar",
        [
            ("0.txt", b"no picture"),
            ("1.png", b"x"),
            ("2.png", b"x"),
            ("2.txt", b"\xff"),
            ("3.png", b"x"),
            ("3.txt", b" "),
            ("4.png", b"x"),
            ("4.json", b"{"),
        ],
    )
    found = records(open_reader(CorpusConfig("pairs_tar", str(path)), 0))
    assert [why(r) for r in found] == ["no picture member", "no caption", "not utf-8", "empty text", "bad json"]
    assert isinstance(found[1], BadRecord)
    assert found[1].where.endswith("a.tar record 1")


def test_interleaved(write_tar: Write) -> None:
    page = {"texts": ["This is", None, "and this", None], "images": [None, "0.png", None, "k.1.png"]}
    path = write_tar("a.tar", [("k.json", json.dumps(page).encode()), ("k.0.png", b"A"), ("k.1.png", b"B")])
    found = records(open_reader(CorpusConfig("interleaved_tar", str(path)), 0))
    assert found == [Document(Text("This is"), Image(b"A"), Text("and this"), Image(b"B"))]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({"texts": [None], "images": ["1.png"]}, "missing member"),
        ({"texts": ["a"], "images": []}, "bad json"),
        ({"texts": ["a"], "images": ["0.png"]}, "bad json"),
        ({"texts": [None], "images": [None]}, "bad json"),
        ({"texts": [" "], "images": [None]}, "empty text"),
        ({"texts": "a"}, "bad json"),
        ([], "bad json"),
    ],
)
def test_bad_pages(write_tar: Write, page: object, reason: str) -> None:
    path = write_tar("a.tar", [("k.json", json.dumps(page).encode()), ("k.0.png", b"A")])
    assert [why(r) for r in records(open_reader(CorpusConfig("interleaved_tar", str(path)), 0))] == [reason]


def test_a_tar_cut_short_keeps_what_is_whole(write_tar: Write, png: Png) -> None:
    members = [(f"{n}.{kind}", png((n, n, n)) if kind == "png" else b"x") for n in range(6) for kind in ("png", "txt")]
    path = write_tar("a.tar", members)
    whole = records(open_reader(CorpusConfig("pairs_tar", str(path)), 0))
    data = path.read_bytes()
    path.write_bytes(data[: 512 * 15 + 20])  # inside the picture of record 3 or after
    found = records(open_reader(CorpusConfig("pairs_tar", str(path)), 0))
    assert why(found[-1]) == "tar cut short"
    good = [record for record in found if not isinstance(record, BadRecord)]
    assert good == whole[: len(good)]
    assert len(good) >= 3


def test_no_tar(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"this is no tar" * 100)
    with pytest.raises(DataError, match=r"a\.tar: not a tar file"):
        records(open_reader(CorpusConfig("pairs_tar", str(path)), 0))


def test_tags_in_captions_and_the_captions_place(write_tar: Write, png: Png) -> None:
    red = png((255, 0, 0))
    info = json.dumps({"caption": "c", "alt": "other"}).encode()
    members = [
        ("0.jpg", red),
        ("0.txt", b"<PERSON> with a <3"),
        ("1.JPG", red),
        ("1.txt", b"<b>x</b> <3"),
        ("1.json", info),
    ]
    path = write_tar("a.tar", members)
    found = records(open_reader(CorpusConfig("pairs_tar", str(path)), 0))
    assert [why(record) for record in found] == ["tag in caption", None]
    assert found[1] == Document(Image(red), Text("<b>x</b> <3"))
    named = records(open_reader(CorpusConfig("pairs_tar", str(path), field="alt"), 0))
    assert ([why(record) for record in named], named[1]) == (["no caption", None], Document(Image(red), Text("other")))


def test_supervision_of_interleaved_texts(write_tar: Write) -> None:
    page = {"texts": ["Question", None, "answer"], "images": [None, "0.png", None]}
    members = [("a.0.png", b"A"), ("b.0.png", b"A"), ("c.0.png", b"A")]
    for key, supervised in (("a", [False, False, True]), ("b", [True]), ("c", [1, 0, 1])):
        members.append((f"{key}.json", json.dumps(page | {"supervised": supervised}).encode()))
    found = records(open_reader(CorpusConfig("interleaved_tar", str(write_tar("a.tar", members))), 0))
    assert found[0] == Document(Text("Question", supervised=False), Image(b"A"), Text("answer"))
    assert [why(record) for record in found] == [None, "bad json", "bad json"]


def test_a_tar_without_members_and_one_of_no_bytes(write_tar: Write, tmp_path: Path) -> None:
    assert records(open_reader(CorpusConfig("pairs_tar", str(write_tar("a.tar", []))), 0)) == []
    (tmp_path / "a.tar").write_bytes(b"")
    assert [why(r) for r in records(open_reader(CorpusConfig("pairs_tar", str(tmp_path)), 0))] == ["tar cut short"]


def test_a_record_too_large_to_hold(write_tar: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kosmos.data.readers.shards.MAX_RECORD_BYTES", 1000)
    path = write_tar("a.tar", [("0.png", bytes(1001)), ("0.txt", b"x"), ("1.png", bytes(1000)), ("1.txt", b"x")])
    found = records(open_reader(CorpusConfig("pairs_tar", str(path)), 0))
    assert [why(record) for record in found] == ["record too large", None]
