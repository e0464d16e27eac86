from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kosmos.config import CorpusConfig
from kosmos.data.readers import BadRecord, open_reader, parquet
from kosmos.document import Document, Image, Text
from kosmos.errors import DataError
from tests.data.readers.taking import read_all, reasons

Png = Callable[[tuple[int, int, int]], bytes]


def write(path: Path, group: int = 3, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def test_text_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=[f"t{n}" for n in range(8)], content=["é", None, " ", "x", *"abcd"])
    assert read_all("parquet", path) == [Document(f"t{n}") for n in range(8)]
    found = read_all("parquet", tmp_path, field="content")
    assert reasons(found) == [None, "no text field", "empty text", *[None] * 5]
    assert found[0] == Document("é") and found[7] == Document("d")
    assert isinstance(found[1], BadRecord) and found[1].where == f"{path} row 1"


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]
)
def test_kinds_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    values = [b"a", b"b"] if kind == pa.binary() else ["a", "b"]
    path = write(tmp_path / "a.parquet", text=pa.array(values, kind))
    assert read_all("parquet", path) == [Document("a"), Document("b")]


def test_a_column_that_is_missing_or_holds_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", body=["a", "b"], number=[1, 2])
    found = read_all("parquet", path)
    assert reasons(found) == ["no column"] * 2
    assert isinstance(found[0], BadRecord) and found[0].detail == "text; there are: body, number"
    assert reasons(read_all("parquet", path, field="number")) == ["no text field"] * 2


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"\xff", b"ok"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    for name, column in (("a", raw), ("b", broken)):
        path = write(tmp_path / f"{name}.parquet", text=column)
        found = read_all("parquet", path)
        assert (reasons(found), found[1]) == (["not utf-8", None], Document("ok"))


def test_a_damaged_row_group_spoils_its_rows_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=[f"{n}" * 50 for n in range(9)])
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(data))
    found = read_all("parquet", path)
    assert reasons(found) == [None] * 3 + ["damaged row group"] * 3 + [None] * 3
    assert found == read_all("parquet", path)


def test_a_file_without_its_end_is_one_bad_record_and_another_file_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=["x" * 100] * 9)
    path.write_bytes(path.read_bytes()[:-30])
    assert reasons(read_all("parquet", path)) == ["parquet cut short"]
    path.write_bytes(b"this is no parquet" * 10)
    with pytest.raises(DataError, match=r"a\.parquet: not a parquet file"):
        read_all("parquet", path)


def test_an_empty_table_has_no_records(tmp_path: Path) -> None:
    assert read_all("parquet", write(tmp_path / "a.parquet", text=pa.array([], pa.string()))) == []


def test_row_groups_stay_decoded_while_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", group=10, text=["x" * 1000] * 40)
    decoded: list[int] = []
    real = parquet.Table.read_group

    def counted(table: parquet.Table, group: int, columns: list[str]) -> Any:
        decoded.append(group)
        return real(table, group, columns)

    monkeypatch.setattr(parquet.Table, "read_group", counted)
    order = [0, 39, 1, 38, 11, 12, 2, 37, 25, 26]
    reader = open_reader(CorpusConfig("parquet", str(path)), 0)
    for record in order:
        reader.read(str(path), record, 0)
    assert decoded == [0, 3, 1, 2]
    decoded.clear()
    monkeypatch.setattr(parquet, "CACHE_BYTES", 25_000)  # two of the four groups
    reader = open_reader(CorpusConfig("parquet", str(path)), 0)
    for record in order:
        reader.read(str(path), record, 0)
    assert decoded == [0, 3, 1, 0, 3, 2]


def test_pairs_as_hugging_face_writes_them(tmp_path: Path, png: Png) -> None:
    red = png((255, 0, 0))
    images = [{"bytes": red, "path": None}, {"bytes": None, "path": "a.png"}, None, *[{"bytes": red, "path": "b"}] * 3]
    captions = ["a red one ", "x", "x", "<PERSON> in red", " ", None]
    path = write(tmp_path / "a.parquet", image=images, text=captions, other=range(6))
    found = read_all("pairs_parquet", path)
    assert found[0] == Document(Image(red), Text("a red one"))
    assert reasons(found) == [None, "missing member", "missing member", "tag in caption", "empty text", "no caption"]
    raw = write(tmp_path / "b.parquet", jpg=[red], caption=["c"], more=[["one", "two"]])
    assert read_all("pairs_parquet", raw) == [Document(Image(red), Text("c"))]
    assert read_all("pairs_parquet", raw, field="more") == [Document(Image(red), Text("one"))]
    assert reasons(read_all("pairs_parquet", write(tmp_path / "c.parquet", text=["a"]))) == ["no column"]


def test_remote_parquet() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b"]}), out)
    fsspec.filesystem("memory").pipe_file("/tables/a.parquet", out.getvalue())
    assert read_all("parquet", "memory://tables") == [Document("a"), Document("b")]
