from __future__ import annotations

from pathlib import Path

from kosmos.config import CorpusConfig
from kosmos.data.readers import open_reader
from kosmos.document import Document
from tests.data.readers.taking import read_all, reasons


def test_one_document_for_each_file(tmp_path: Path) -> None:
    contents = {"a.txt": b"\xef\xbb\xbfone\r\ntwo\n", "b.txt": b"\n\n\xc3\xa9\n", "c.txt": b" \n", "d.txt": b"\xff"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = read_all("text", tmp_path)
    assert found[:2] == [Document("one\ntwo"), Document("é")]
    assert reasons(found)[2:] == ["empty text", "not utf-8"]


def test_folders_are_shards(tmp_path: Path) -> None:
    for name in ("x/a.txt", "x/b.txt", "y/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    reader = open_reader(CorpusConfig("text", f"{tmp_path}/**/*.txt"), 0)
    assert [(shard, reader.num_records(shard)) for shard in reader.shards()] == [
        (str(tmp_path / "x"), 2),
        (str(tmp_path / "y"), 1),
    ]
    assert reader.read(str(tmp_path / "x"), 1, 0) == Document("x/b.txt")


def test_documents_between_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\none\ntwo \r\n\r\n \nthree\n\n\xff\n\nend")
    found = read_all("text_blocks", tmp_path)
    assert (found[:2], found[3]) == ([Document("one\ntwo"), Document("three")], Document("end"))
    assert reasons(found) == [None, None, "not utf-8", None]
