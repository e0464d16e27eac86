"""Rows and layouts of dataset files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.errors import DataError
from kosmos.evaluation.readers.dataset_files import (
    Layout,
    Row,
    cluster_key,
    hub_layout,
    read_csv,
    read_jsonl,
    read_layouts,
    read_lines,
    read_rows,
    unique_ids,
)
from kosmos.example import Example


def names(paths: object) -> list[Example]:
    assert isinstance(paths, list)
    return [Example(path.name, {"label": 0}) for path in paths]


def test_json_lines_are_cut_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"a": "one\u2028two"}\r\n\n{"a": "three"}', encoding="utf-8")
    rows = read_jsonl(path)
    assert [(row.index, row.where, row.text("a")) for row in rows] == [
        (0, f"{path}, line 1", "one\u2028two"),
        (1, f"{path}, line 3", "three"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a":', "line 2: not JSON"),
        ("[1]", "line 1: must be a JSON object, not list"),
    ],
)
def test_broken_json_lines_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_jsonl(path)


def test_csv_keeps_quoted_newlines_and_checks_widths(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a, b\n"x\ny","1,2"\n\nz,3\n')
    assert [dict(row.values) for row in read_csv(path)] == [{"a": "x\ny", "b": "1,2"}, {"a": "z", "b": "3"}]
    path.write_text("a,b\n1\n")
    with pytest.raises(DataError, match=r"rows.csv, line 2: 1 columns instead of 2 \(a, b\)"):
        read_csv(path)
    path.write_text("")
    with pytest.raises(DataError, match="empty; its first line must name the columns"):
        read_csv(path)


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"rows.txt: not UTF-8"):
        read_lines(path)
    path.write_bytes(b"one\r\ntwo\n\n")
    assert read_lines(path) == ["one", "two"]


def test_arrow_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"a": ["x", "y"]})
    for number, writer in enumerate([pyarrow.ipc.new_stream, pyarrow.ipc.new_file]):
        with writer(str(tmp_path / f"{number}.arrow"), table.schema) as sink:
            sink.write_table(table)
    rows = read_rows([tmp_path / "0.arrow", tmp_path / "1.arrow"])
    assert [(row.index, row.text("a")) for row in rows] == [(0, "x"), (1, "y"), (2, "x"), (3, "y")]


def test_rows_know_the_nearest_key() -> None:
    row = Row("file, line 1", 0, {"question": "q", "empty": None})
    with pytest.raises(DataError, match=r"file, line 1: no 'qestion' \(did you mean 'question'\?\)"):
        row.text("qestion")
    assert "empty" not in row and "question" in row


def test_whole_numbers_come_as_numbers_or_digits() -> None:
    row = Row("here", 0, {"a": 3, "b": "3", "c": 3.0, "d": 3.5, "e": True, "f": "x"})
    assert [row.integer(key) for key in "abc"] == [3, 3, 3]
    for key in "def":
        with pytest.raises(DataError, match=f"'{key}' must be a whole number"):
            row.integer(key)


def test_the_first_layout_that_is_there_is_read(tmp_path: Path) -> None:
    layouts = (
        Layout("official", {"test": ("a.txt", "deep/a.txt")}, names),
        hub_layout("some/set", {"test": ["test", "eval"]}, names, "config"),
    )
    (tmp_path / "config").mkdir()
    for name in ("eval-00001-of-00002.parquet", "eval-00000-of-00002.parquet"):
        (tmp_path / "config" / name).touch()
    found = read_layouts("it", tmp_path, "test", layouts)
    assert [example.id for example in found] == ["eval-00000-of-00002.parquet", "eval-00001-of-00002.parquet"]
    assert found[0].meta == {"layout": "as on the hub, some/set"}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").touch()
    assert [example.id for example in read_layouts("it", tmp_path, "test", layouts)] == ["a.txt"]


def test_files_without_examples_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"a.txt: no examples in it"):
        read_layouts("it", tmp_path, "test", (Layout("official", {"test": ("a.txt",)}, lambda paths: []),))


def test_long_listings_are_cut(tmp_path: Path) -> None:
    for number in range(11):
        (tmp_path / f"{number:02d}").touch()
    with pytest.raises(DataError, match="there are 00, 01, 02, 03, 04, 05, 06, 07 and 3 more"):
        read_layouts("it", tmp_path, "test", (Layout("official", {"test": ("a.txt",)}, names),))


def test_ids_that_come_again_are_numbered() -> None:
    examples = unique_ids(Example(name, {}) for name in ["a", "b", "a", "a"])
    assert [example.id for example in examples] == ["a", "b", "a#2", "a#3"]


def test_cluster_keys_are_short_and_stable() -> None:
    assert cluster_key("a passage") == "6221239270e78eed"
