"""Downloading one file to disk from a server on loopback: whole, gone on from, refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp import web

from kosmos.data.fetch.download import download
from kosmos.data.fetch.settings import FetchSettings
from kosmos.errors import DataError, StorageError
from tests.data.fetch.loopback import Site, lookup

CONTENT = bytes(range(256)) * 40


def get(url: str, file: Path, max_bytes: int = 100_000, **changes: object) -> tuple[int, list[float]]:
    """Bytes written, and the waits between tries."""
    waits: list[float] = []
    settings = {"ports": (), "allow_networks": ("127.0.0.1/32",), "timeout": 5.0, "retries": 2, **changes}
    size = download(url, file, max_bytes, FetchSettings(**settings), lookup=lookup, wait=waits.append)  # type: ignore[arg-type]
    return size, waits


class Server:
    """Serves CONTENT with ranges, and breaks off after some bytes as often as told."""

    def __init__(self, breaks: int = 0, tag: str = '"one"') -> None:
        self.breaks, self.tag, self.ranges = breaks, tag, list[str]()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = request.headers.get("Range", "") if request.headers.get("If-Range") == self.tag else ""
        self.ranges.append(asked)
        start = int(re.findall(r"\d+", asked)[0]) if asked else 0
        body = CONTENT[start:]
        headers = {"ETag": self.tag, "Content-Length": str(len(body))}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        answer = web.StreamResponse(status=206 if asked else 200, headers=headers)
        await answer.prepare(request)
        if self.breaks:
            self.breaks -= 1
            await answer.write(body[:3000])
            assert request.transport is not None
            request.transport.close()
            return answer
        await answer.write(body)
        return answer


def test_a_whole_file_in_one_try(site: Site, tmp_path: Path) -> None:
    site.pages["/data/train.jsonl"] = CONTENT
    assert get(site.url("/data/train.jsonl"), tmp_path / "train.jsonl") == (len(CONTENT), [])
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]
    assert (tmp_path / "train.jsonl").read_bytes() == CONTENT
    assert site.paths() == ["/data/train.jsonl"]  # a person asked: no robots.txt
    assert site.headers[0]["User-Agent"].startswith("kosmos/")


def test_a_broken_one_is_gone_on_from(site: Site, tmp_path: Path) -> None:
    server = site.pages["/a.zip"] = Server(breaks=2)
    assert get(site.url("/a.zip"), tmp_path / "a.zip")[0] == len(CONTENT)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=3000-", "bytes=6000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_another_start_goes_on_too_unless_the_file_has_changed(site: Site, tmp_path: Path) -> None:
    site.pages["/a.zip"] = Server(breaks=9)
    with pytest.raises(DataError, match=r"http://site.test:\d+/a.zip: cannot be fetched: cut short"):
        get(site.url("/a.zip"), tmp_path / "a.zip", retries=0)
    assert (tmp_path / ".a.zip.part").stat().st_size == 3000
    again = site.pages["/a.zip"] = Server()
    get(site.url("/a.zip"), tmp_path / "a.zip")
    assert again.ranges == ["bytes=3000-"]
    (tmp_path / ".b.zip.part").write_bytes(b"of another file")
    (tmp_path / ".b.zip.etag").write_text('"older"')
    other = site.pages["/b.zip"] = Server()
    get(site.url("/b.zip"), tmp_path / "b.zip")
    assert other.ranges == [""]
    assert (tmp_path / "b.zip").read_bytes() == CONTENT == (tmp_path / "a.zip").read_bytes()


def test_what_is_larger_than_expected_is_refused(site: Site, tmp_path: Path) -> None:
    site.pages["/a.zip"] = CONTENT
    with pytest.raises(DataError, match="too large: 10,240 bytes; expected at most 10,000"):
        get(site.url("/a.zip"), tmp_path / "a.zip", max_bytes=10_000)

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for _ in range(40):
            await answer.write(CONTENT)
        return answer

    site.pages["/b.zip"] = endless
    with pytest.raises(DataError, match="too large: more than 20,000 bytes"):
        get(site.url("/b.zip"), tmp_path / "b.zip", max_bytes=20_000)
    assert not (tmp_path / "b.zip").exists() and not (tmp_path / ".b.zip.part").exists()


def test_statuses_and_redirects(site: Site, tmp_path: Path) -> None:
    async def moved(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/there"})

    async def inside(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"http://10-0-0-7.test:{site.port}/secret"})

    async def busy(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=503)

    site.pages.update({"/here": moved, "/there": CONTENT, "/inside": inside, "/busy": busy})
    assert get(site.url("/here"), tmp_path / "a")[0] == len(CONTENT)
    with pytest.raises(DataError, match="http 404"):
        get(site.url("/nothing"), tmp_path / "b")
    with pytest.raises(DataError, match="private address"):
        get(site.url("/inside"), tmp_path / "b")
    with pytest.raises(DataError, match="http 503"):
        get(site.url("/busy"), tmp_path / "b", retries=2)
    assert site.paths().count("/busy") == 3
    with pytest.raises(DataError, match="host not found"):
        get(site.url("/", "nowhere.test"), tmp_path / "b")


def test_a_disk_that_does_not_take_it(site: Site, tmp_path: Path) -> None:
    site.pages["/a.zip"] = CONTENT
    with pytest.raises(StorageError, match="a.zip.part: cannot be written"):
        get(site.url("/a.zip"), tmp_path / "missing" / "a.zip")
