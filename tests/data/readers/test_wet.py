from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kosmos.data.readers import BadRecord
from kosmos.data.readers.records import RawRecord
from kosmos.data.readers.sequential import records


def record(kind: str, payload: bytes, **headers: str) -> bytes:
    fields = {"WARC-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"WARC/1.0\r\n{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload + b"\r\n\r\n"


PAGES = [
    record("warcinfo", b"software: x\r\n", Content_Type="application/warc-fields"),
    record(
        "conversion",
        "Grüße\nzwei\r\n".encode(),
        WARC_Target_URI="http://a.example/?q=1:2",
        WARC_Date="2021-01-17T00:00:00Z",
        WARC_Record_ID="<urn:uuid:1>",
        WARC_Identified_Content_Language="deu,eng",
    ),
    record("metadata", b"WARC/1.0\r\n\r\nnot a record"),
    record("conversion", b"\xff\xfe", WARC_Target_URI="http://b.example/"),
    record("conversion", b" \n", warc_target_uri="http://c.example/"),
    record("conversion", b"last", warc_target_uri="http://d.example/"),
]


@pytest.fixture(params=["crawl.warc.wet", "crawl.warc.wet.gz", "one.wet.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    data = b"".join(PAGES)
    if request.param == "crawl.warc.wet.gz":  # as Common Crawl writes: a gzip member for each record
        data = b"".join(gzip.compress(page) for page in PAGES)
    elif request.param == "one.wet.gz":
        data = gzip.compress(data)
    (tmp_path / request.param).write_bytes(data)
    return tmp_path / request.param


def test_pages(path: Path) -> None:
    found = list(records("wet", str(path)))
    assert [item.why if isinstance(item, BadRecord) else item.texts for item in found] == [
        ("Grüße\nzwei",),
        "not utf-8",
        "empty text",
        ("last",),
    ]
    assert isinstance(found[0], RawRecord)
    meta = {
        "url": "http://a.example/?q=1:2",
        "date": "2021-01-17T00:00:00Z",
        "id": "<urn:uuid:1>",
        "languages": "deu,eng",
    }
    assert found[0].meta == meta
    assert found[0].where == f"{path} byte {len(PAGES[0])}"


def test_cut_short_and_without_lengths(tmp_path: Path) -> None:
    path = tmp_path / "a.wet"
    path.write_bytes(b"".join(PAGES)[:-6])
    found = list(records("wet", str(path)))
    assert len(found) == 4
    assert found[3] == BadRecord(str(path), "compressed file cut short", "the last record is not whole")
    for broken in (
        b"HTTP/1.1 200\r\n\r\n",
        b"WARC/1.0\r\nContent-Length: -5\r\n\r\n",
        b"WARC/1.0\r\n" + b"a: b\r\n" * 20_000,
    ):
        path.write_bytes(PAGES[1] + broken)
        found = list(records("wet", str(path)))
        assert len(found) == 2
        assert isinstance(found[1], BadRecord) and found[1].why == "compressed file damaged"
        assert found[1].detail.endswith(f"byte {len(PAGES[1])}: no WARC record")
