from __future__ import annotations

import base64
import json
import signal
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kosmos.config import CorpusConfig
from kosmos.data.fetch.pictures import PictureFetcher
from kosmos.data.fetch.results import FetchFailure, Picture
from kosmos.data.fetch.settings import FetchSettings
from kosmos.data.fetch.stats import ShardFiles, ShardStats
from kosmos.data.fetch.tables import FetchReport, fetch_table
from kosmos.data.readers import BadRecord, open_reader
from kosmos.document import Document, Image, Text
from kosmos.errors import DataError, Interrupted, UsageError
from tests.data.fetch.loopback import CountedTime, Site, lookup

MakePicture = Callable[..., bytes]
Fetch = Callable[..., FetchReport]


def settings(**changed: Any) -> FetchSettings:
    made: dict[str, Any] = {"ports": (), "allow_networks": ("127.0.0.1/32",), "retries": 0, "timeout": 60.0}
    return FetchSettings(**{**made, **changed})


@pytest.fixture
def fetch(time_counted: CountedTime) -> Fetch:
    def run(reader: str, path: Path, out: Path, records_per_shard: int = 100, **changed: Any) -> FetchReport:
        progress = changed.pop("progress", None)
        return fetch_table(
            reader,
            str(path),
            out,
            settings(**changed),
            records_per_shard=records_per_shard,
            progress=progress,
            clock=time_counted.clock(),
            lookup=lookup,
        )

    return run


@pytest.fixture
def laion(tmp_path: Path) -> Callable[..., Path]:
    def write(urls: list[str], name: str = "laion.parquet") -> Path:
        captions = [f"caption {number}" for number in range(len(urls))]
        nan = [float("nan")] * len(urls)
        pq.write_table(pa.table({"URL": urls, "TEXT": captions, "similarity": nan}), tmp_path / name)
        return tmp_path / name

    return write


def documents(reader: str, path: Path) -> list[Document | BadRecord]:
    opened = open_reader(CorpusConfig(reader, str(path)), 0)
    return [opened.read(shard, n, 0) for shard in opened.shards() for n in range(opened.num_records(shard))]


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x02\0\0\0") + chunk(b"IDAT", zlib.compress(b"x"))


def test_pairs_in_the_order_of_the_table(
    site: Site, fetch: Fetch, laion: Callable[..., Path], picture: MakePicture, tmp_path: Path
) -> None:
    good = [picture(number, form=form) for number, form in enumerate(["JPEG", "PNG", "WEBP", "GIF"])]
    site.pages = {f"/{number}.jpg": data for number, data in enumerate(good)}
    site.pages |= {
        "/html": b"<html>not found, but 200</html>",
        "/half": good[0][: len(good[0]) // 2],
        "/small": picture(9, (8, 40)),
        "/bomb": png_header(30_000, 20_000),
    }
    urls = [site.url(f"/{name}") for name in ("3.jpg", "html", "2.jpg", "half", "small", "1.jpg", "bomb", "gone")]
    urls += [site.url("/0.jpg"), site.url("/3.jpg"), "http://10.0.0.7/a.jpg", "ftp://site.test/a.jpg"]
    report = fetch("laion", laion(urls), tmp_path / "out", min_size=10)
    assert documents("pairs_tar", tmp_path / "out") == [
        Document(Image(good[number]), Text(f"caption {place}"))
        for place, number in ((0, 3), (2, 2), (5, 1), (8, 0), (9, 3))
    ]
    assert (report.records, report.written, report.pictures_fetched) == (12, 5, 5)
    failed = {
        "not a picture": 1,
        "broken picture": 1,
        "too small": 1,
        "too many pixels": 1,
        "http 404": 1,
        "private address": 1,
        "scheme": 1,
    }
    assert report.picture_failures == failed
    assert report.dropped == failed
    assert site.paths().count("/3.jpg") == 1  # named twice, fetched once
    with tarfile.open(tmp_path / "out" / "00000.tar") as archive:
        info = json.load(archive.extractfile("000000002.json"))  # type: ignore[arg-type]
    assert info == {
        "similarity": None,
        "url": site.url("/2.jpg"),
        "width": 24,
        "height": 16,
        "original_width": 24,
        "original_height": 16,
        "caption": "caption 2",
        "key": "000000002",
        "status": "success",
        "error_message": None,
    }
    log = [json.loads(line) for line in (tmp_path / "out" / "00000_failed.jsonl").read_text().splitlines()]
    assert [(entry["url"], entry["reason"]) for entry in log][:2] == [
        (site.url("/html"), "not a picture"),
        (site.url("/half"), "broken picture"),
    ]
    assert log[0]["where"].endswith("laion.parquet row 1")
    stats = json.loads((tmp_path / "out" / "00000_stats.json").read_text())
    assert (stats["count"], stats["successes"], stats["failed_to_download"]) == (12, 5, 7)
    assert stats["status_dict"] == {"success": 5, **failed}


def test_documents_lose_the_pictures_that_fail(site: Site, fetch: Fetch, picture: MakePicture, tmp_path: Path) -> None:
    red, blue = picture(1), picture(2, form="PNG")
    site.pages = {"/1": red, "/2": blue}
    data = "data:image/png;base64,"
    data += base64.b64encode(blue).decode()
    rows = [
        {
            "texts": ["one", None, None, "two", None],
            "images": [None, site.url("/1"), site.url("/gone"), None, site.url("/2")],
            "metadata": json.dumps([None, {"alt": "a"}, {"alt": "b"}, None, {"alt": "c"}]),
        },
        {"texts": [None, "three"], "images": [site.url("/gone"), None], "metadata": "[null, null]"},
        {"texts": ["only text"], "images": [None], "metadata": "[null]"},
        {"texts": [None, "four"], "images": [data, None], "metadata": "[null, null]"},
        {"texts": ["five"], "images": [None, None], "metadata": "[null]"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "obelics.parquet")
    report = fetch("obelics", tmp_path / "obelics.parquet", tmp_path / "out")
    assert documents("interleaved_tar", tmp_path / "out") == [
        Document(Text("one"), Image(red), Text("two"), Image(blue)),
        Document(Image(blue), Text("four")),
    ]
    assert report.dropped == {"no picture left": 2, "bad json": 1}
    assert report.picture_failures == {"http 404": 2}
    with tarfile.open(tmp_path / "out" / "00000.tar") as archive:
        first = json.load(archive.extractfile("000000000.json"))  # type: ignore[arg-type]
        fourth = json.load(archive.extractfile("000000003.json"))  # type: ignore[arg-type]
    assert first["metadata"] == [None, {"alt": "a"}, None, {"alt": "c"}]
    assert first["urls"] == [None, site.url("/1"), None, site.url("/2")]
    assert fourth["urls"] == [data[:64], None]


def test_two_runs_give_equal_tars(
    site: Site, fetch: Fetch, laion: Callable[..., Path], picture: MakePicture, tmp_path: Path
) -> None:
    site.pages = {f"/{number}": picture(number) for number in range(12) if number % 5}
    table = laion([site.url(f"/{number}", f"{'abc'[number % 3]}.test") for number in range(12)])
    for out in ("one", "two"):
        assert fetch("laion", table, tmp_path / out, records_per_shard=4).written == 9
    names = [f"0000{number}{ending}" for number in range(3) for ending in (".tar", "_failed.jsonl")]
    for name in [*names, "fetch.json"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    left = {path.name for path in (tmp_path / "one").iterdir()}
    assert left == {*names, "fetch.json", *(f"0000{number}_stats.json" for number in range(3))}


@pytest.mark.parametrize("how", ["exception", "signal"])
def test_goes_on_after_the_last_finished_shard(
    how: str, site: Site, fetch: Fetch, laion: Callable[..., Path], picture: MakePicture, tmp_path: Path
) -> None:
    site.pages = {f"/{number}": picture(number) for number in range(6)}
    table = laion([site.url(f"/{number}") for number in range(6)])
    out = tmp_path / "out"
    whole = fetch("laion", table, tmp_path / "whole", records_per_shard=2)

    def stop(files: ShardFiles, stats: ShardStats) -> None:
        if how == "signal":
            signal.raise_signal(signal.SIGINT)
        else:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"[123] shards .* are finished"):
        fetch("laion", table, out, records_per_shard=2, progress=stop)
    finished = [number for number in range(3) if (out / f"0000{number}_stats.json").exists()]
    assert finished and not list(out.glob(".*"))
    unfinished = min({0, 1, 2}.difference(finished), default=0)
    (out / f"0000{unfinished}.tar").write_bytes(b"half a tar")  # as a machine that lost power could leave it
    (out / f"0000{unfinished}_stats.json").unlink(missing_ok=True)
    site.seen.clear()
    report = fetch("laion", table, out, records_per_shard=2)
    kept = [number for number in finished if number != unfinished]
    assert (report.shards, report.resumed, report.written, whole.written) == (3, len(kept), 6, 6)
    assert not {f"/{2 * number + place}" for number in kept for place in (0, 1)}.intersection(site.paths())
    for number in range(3):
        assert (out / f"0000{number}.tar").read_bytes() == (tmp_path / "whole" / f"0000{number}.tar").read_bytes()
    site.seen.clear()
    assert fetch("laion", table, out, records_per_shard=2).resumed == 3
    assert site.seen == []


def test_other_tables_plans_and_folders_are_refused(
    site: Site, fetch: Fetch, laion: Callable[..., Path], picture: MakePicture, tmp_path: Path
) -> None:
    site.pages = {"/1": picture(1), "/2": picture(2)}
    out = tmp_path / "out"
    fetch("laion", laion([site.url("/1")]), out)
    with pytest.raises(DataError, match="table was changed"):
        fetch("laion", laion([site.url("/2")], "other.parquet"), out)
    with pytest.raises(UsageError, match="was begun with"):
        fetch("laion", laion([site.url("/1")]), out, records_per_shard=7)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UsageError, match="holds other files"):
        fetch("laion", laion([site.url("/1")]), tmp_path / "full")
    with pytest.raises(UsageError, match="no table of URLs"):
        fetch("jsonl", laion([site.url("/1")]), tmp_path / "new")
    with pytest.raises(DataError):
        fetch("laion", tmp_path / "missing.parquet", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_shard_without_any_picture_is_finished_too(
    site: Site, fetch: Fetch, laion: Callable[..., Path], picture: MakePicture, tmp_path: Path
) -> None:
    site.pages = {"/2": picture(2)}
    table = laion([site.url("/0"), site.url("/1"), site.url("/2"), site.url("/3")])
    assert fetch("laion", table, tmp_path / "out", records_per_shard=2).written == 1
    assert documents("pairs_tar", tmp_path / "out") == [Document(Image(picture(2)), Text("caption 2"))]
    site.seen.clear()
    assert fetch("laion", table, tmp_path / "out", records_per_shard=2).resumed == 2
    assert site.seen == []


def test_pictures_for_code_that_waits(site: Site, picture: MakePicture, time_counted: CountedTime) -> None:
    site.pages = {"/1": picture(1), "/2": picture(2)}
    urls = [site.url("/2"), site.url("/gone"), site.url("/1"), site.url("/2")]
    with PictureFetcher(settings(), time_counted.clock(), lookup) as fetcher:
        found = fetcher.fetch(urls)
        assert [getattr(result, "data", None) for result in found] == [picture(2), None, picture(1), picture(2)]
        assert found[0] == Picture(picture(2), 24, 16, site.url("/2"))
        assert found[1] == FetchFailure("http 404")
        assert fetcher.fetch([]) == []
        fetcher.fetch(urls)
    assert site.paths().count("/robots.txt") == 1
    assert site.paths().count("/2") == 2
