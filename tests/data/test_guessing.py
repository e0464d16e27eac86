"""Which reader a file is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.data.guessing import guess_reader
from kosmos.errors import DataError
from tests.cli.data.corpora import write_all, write_lines, write_table


def test_every_form_is_known_by_its_content(tmp_path: Path) -> None:
    for reader, file in write_all(tmp_path).items():
        assert guess_reader(str(file)).reader == reader.partition(".")[0], file


def test_a_folder_is_known_by_its_first_data_file(tmp_path: Path) -> None:
    (tmp_path / "00000_stats.json").write_text("{}")
    (tmp_path / "MANIFEST.sha256").write_text("")
    write_lines(tmp_path / "part.jsonl", [{"instruction": "a", "output": "b"}])
    guess = guess_reader(str(tmp_path))
    assert (guess.reader, guess.reason) == ("instructions", "keys instruction and output")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "the file is empty"),
        ("blob.bin", b"\x01\0\x02\0 a", "neither text nor a known container; name it with --reader"),
        ("rows.jsonl", b'{"content": "x"}\n', "no known form has these keys: content; name it with --reader"),
        ("cut.jsonl.gz", b"\x1f\x8b\x08\0", "compressed file cut short"),
        ("site.warc", b"WARC/1.0\r\nWARC-Type: response\r\n\r\n", "web pages (WARC): `kosmos data pages`"),
    ],
)
def test_what_is_no_form_is_said_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        guess_reader(str(file))
    assert str(caught.value).startswith(f"{file}: ") and message in str(caught.value)


def test_unknown_columns_are_named(tmp_path: Path) -> None:
    file = write_table(tmp_path / "x.parquet", {"content": ["a"], "number": [1]})
    with pytest.raises(DataError, match="no known form has the columns content, number"):
        guess_reader(str(file))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder holds no"):
        guess_reader(str(tmp_path))
