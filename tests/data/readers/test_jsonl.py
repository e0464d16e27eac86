from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kosmos.config import CorpusConfig
from kosmos.data.index import line_index
from kosmos.data.readers import BadRecord, Reader, open_reader, register_reader
from kosmos.document import Document, Text
from kosmos.errors import ConfigError, DataError

Write = Callable[..., Path]


def records(reader: Reader) -> list[Document | BadRecord]:
    return [reader.read(shard, n, 0) for shard in reader.shards() for n in range(reader.num_records(shard))]


def why(record: Document | BadRecord) -> str | None:
    return record.why if isinstance(record, BadRecord) else None


def test_text(write_jsonl: Write) -> None:
    path = write_jsonl("a.jsonl", [{"text": "one\ntwo"}, b"\n", b"\r\n", {"text": "été", "meta": 1}])
    assert records(open_reader(CorpusConfig("jsonl", str(path)), 0)) == [Document("one\ntwo"), Document("été")]


def test_a_last_line_without_newline(write_jsonl: Write) -> None:
    path = write_jsonl("a.jsonl", [{"text": "a"}, b'{"text": "b"}'])
    index = line_index(str(path))
    assert [index.span(record) for record in range(len(index))] == [(0, 13), (14, 27)]
    assert records(open_reader(CorpusConfig("jsonl", str(path)), 0))[1] == Document("b")


def test_bad_lines_are_named_with_their_reason(write_jsonl: Write) -> None:
    lines = [b'{"text": \n', b'{"text": "\xff"}\n', b"[1, 2]\n", {"no": 1}, {"text": " "}, {"text": 5}]
    lines.append(b'{"text": "\\ud800"}\n')
    found = records(open_reader(CorpusConfig("jsonl", str(write_jsonl("a.jsonl", lines))), 0))
    reasons = ["bad json", "not utf-8", "bad json", "no text field", "empty text", "no text field", "no text field"]
    assert [why(record) for record in found] == reasons
    assert isinstance(found[1], BadRecord)
    assert found[1].where.endswith("a.jsonl byte 10")


def test_instructions_supervise_the_output_only(write_jsonl: Write) -> None:
    path = write_jsonl(
        "i.jsonl",
        [
            {"instruction": "Add.", "input": "1 2", "output": "3"},
            {"instruction": "Say hello.", "output": "hello"},
            {"instruction": "Add."},
        ],
    )
    found = records(open_reader(CorpusConfig("instructions", str(path)), 0))
    assert found[0] == Document(Text("Add. 1 2", supervised=False), Text(" 3"))
    assert found[1] == Document(Text("Say hello.", supervised=False), Text(" hello"))
    assert why(found[2]) == "no instruction or output field"


def test_shards_of_a_folder_and_of_a_pattern_come_sorted(write_jsonl: Write, tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        write_jsonl(name, [{"text": name}])
    expected = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    assert open_reader(CorpusConfig("jsonl", str(tmp_path)), 0).shards() == expected
    assert open_reader(CorpusConfig("jsonl", str(tmp_path / "*.jsonl")), 0).shards() == expected


def test_missing_files_and_readers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        open_reader(CorpusConfig("jsonl", str(tmp_path / "no.jsonl")), 0)
    with pytest.raises(DataError, match=r"holds no \*\.jsonl file"):
        open_reader(CorpusConfig("jsonl", str(tmp_path)), 0)
    with pytest.raises(ConfigError, match="no reader 'jsonn' .did you mean 'jsonl'"):
        open_reader(CorpusConfig("jsonn", "x"), 0)


def test_another_reader_can_be_registered(write_jsonl: Write) -> None:
    path = write_jsonl("a.jsonl", [{"text": "x"}])
    register_reader("again", lambda entry, seed: open_reader(CorpusConfig("jsonl", entry.path), seed))
    assert records(open_reader(CorpusConfig("again", str(path)), 0)) == [Document("x")]


def test_another_field_and_a_byte_order_mark(write_jsonl: Write) -> None:
    path = write_jsonl("a.jsonl", [b"\xef\xbb\xbf", {"body": "a", "text": "no"}, {"text": "b"}])
    found = records(open_reader(CorpusConfig("jsonl", str(path), field="body"), 0))
    assert (found[0], why(found[1])) == (Document("a"), "no text field")


def test_a_file_that_became_shorter_is_an_error(write_jsonl: Write) -> None:
    path = write_jsonl("a.jsonl", [{"text": "a"}, {"text": "b"}])
    reader = open_reader(CorpusConfig("jsonl", str(path)), 0)
    assert reader.num_records(str(path)) == 2
    with path.open("r+b") as file:
        file.truncate(20)
    with pytest.raises(DataError, match=r"a\.jsonl byte 14: the file became shorter since it was opened"):
        reader.read(str(path), 1, 0)
