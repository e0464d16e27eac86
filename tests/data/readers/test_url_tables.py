from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kosmos.data.readers import BadRecord
from kosmos.data.readers.records import RawRecord
from kosmos.data.readers.sequential import records

Write = Callable[..., Path]


def pairs(reader: str, path: Path, field: str = "") -> list[tuple[str, str] | str]:
    """(url, caption) of good records, the reason of bad ones."""
    found: list[tuple[str, str] | str] = []
    for item in records(reader, str(path), field):
        if isinstance(item, BadRecord):
            found.append(item.why)
        else:
            assert item.kind == "pair" and item.texts[0] is None and item.images[1] is None
            found.append((str(item.images[0]), str(item.texts[1])))
    return found


def test_laion_and_coyo(tmp_path: Path) -> None:
    laion = {"SAMPLE_ID": [1, 2, 3, 4], "URL": ["http://a", None, "http://c", "http://d"]}
    table = pa.table(laion | {"TEXT": ["one", "two", None, "<PERSON> here"], "similarity": [0.3] * 4})
    pq.write_table(table, tmp_path / "l.parquet", row_group_size=2)
    assert pairs("laion", tmp_path / "l.parquet") == [("http://a", "one"), "bad row", "no caption", "tag in caption"]
    first = next(records("laion", str(tmp_path)))
    assert isinstance(first, RawRecord) and first.meta == {"SAMPLE_ID": 1, "similarity": 0.3}
    pq.write_table(pa.table({"id": [7], "url": ["http://x"], "text": ["t"], "alt": ["other"]}), tmp_path / "c.parquet")
    assert pairs("coyo", tmp_path / "c.parquet") == [("http://x", "t")]
    assert pairs("coyo", tmp_path / "c.parquet", field="alt") == [("http://x", "other")]
    assert pairs("coyo", tmp_path / "c.parquet", field="none") == ["no column"]


def test_cc3m_and_cc12m_differ_in_their_columns(tmp_path: Path) -> None:
    (tmp_path / "cc3m.tsv").write_text('a "quoted" one\thttp://a\n<PERSON> b\thttp://b\nonly\nx\ty\tz\n\n')
    (tmp_path / "cc12m.tsv").write_text("https://a\tone\r\nhttps://b\t\n")
    wanted = [("http://a", 'a "quoted" one'), "tag in caption", "bad row", "bad row"]
    assert pairs("cc3m", tmp_path / "cc3m.tsv") == wanted
    assert pairs("cc12m", tmp_path / "cc12m.tsv") == [("https://a", "one"), "empty text"]
    turned = next(records("cc3m", str(tmp_path / "cc12m.tsv")))
    assert isinstance(turned, BadRecord) and "the columns stand in the other order" in turned.detail


def test_a_header_in_a_tsv_says_the_order(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("url\tcaption\nhttp://a\tone\n")
    assert pairs("cc3m", tmp_path / "a.tsv") == [("http://a", "one")]


def interleaved(found: RawRecord | BadRecord) -> list[Any]:
    assert isinstance(found, RawRecord), found
    return [text if text is not None else {image} for text, image in zip(found.texts, found.images, strict=True)]


def mmc4_line(texts: list[Any], images: list[tuple[str, Any]]) -> dict[str, Any]:
    info = [{"raw_url": url, "matched_text_index": place, "image_name": "x.jpg"} for url, place in images]
    return {"text_list": texts, "image_info": info, "url": "http://page", "similarity_matrix": [[0.1]]}


def test_mmc4_puts_each_picture_before_its_sentence(write_jsonl: Write, tmp_path: Path) -> None:
    lines = [
        mmc4_line(["A.", "B.", "C.", "D."], [("http://2", 3), ("http://1", 2)]),
        mmc4_line(["A."], [("http://1", 0)]),
        mmc4_line(["A."], [("http://1", 5)]),
        mmc4_line([1], []),
        {"text_list": ["a"]},
    ]
    path = write_jsonl("docs_shard_0_v2.jsonl", lines)
    packed = tmp_path / "packed" / "docs_shard_0_v2.jsonl.zip"
    packed.parent.mkdir()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, path.name)
    for place in (path, packed.parent):
        found = list(records("mmc4", str(place)))
        assert interleaved(found[0]) == ["A. B.", {"http://1"}, "C.", {"http://2"}, "D."]
        assert interleaved(found[1]) == [{"http://1"}, "A."]
        assert [item.why for item in found[2:] if isinstance(item, BadRecord)] == [
            "bad json",
            "bad json",
            "no text field",
        ]
        assert isinstance(found[0], RawRecord) and found[0].meta == {"url": "http://page"}


@pytest.fixture
def obelics(tmp_path: Path) -> Path:
    rows = {
        "images": [[None, "http://1"], ["http://2", None], ["http://3"]],
        "texts": [["one", None], [None, "two"], ["both"]],
        "metadata": [json.dumps([None, {"src": "http://1"}]), "not json", None],
        "general_metadata": [json.dumps({"url": "http://page"})] * 3,
    }
    out = io.BytesIO()
    pq.write_table(pa.table(rows), out)
    (tmp_path / "o.parquet").write_bytes(out.getvalue())
    return tmp_path / "o.parquet"


def test_obelics(obelics: Path) -> None:
    found = list(records("obelics", str(obelics)))
    assert interleaved(found[0]) == ["one", {"http://1"}]
    assert interleaved(found[1]) == [{"http://2"}, "two"]
    assert isinstance(found[0], RawRecord) and isinstance(found[1], RawRecord)
    assert found[0].meta == {"metadata": [None, {"src": "http://1"}], "general_metadata": {"url": "http://page"}}
    assert found[1].meta["metadata"] == "not json"
    assert isinstance(found[2], BadRecord) and found[2].why == "bad json"
