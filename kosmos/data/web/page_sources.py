"""Steps that read pages: out of a folder of HTML, and out of WARC files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kosmos.data.web.html_folder import read_capped
from kosmos.data.web.settings import PageLimits
from kosmos.data.web.step import READ, CountingStep

PAGE_TOO_LARGE = "page over the size limit"
_ENCODED = frozenset({"content-encoding", "transfer-encoding"})
_HTML = ("text/html", "application/xhtml+xml")


def share(files: Sequence[Any], rank: int, world_size: int) -> Sequence[Any]:
    """The consecutive part of the files that one task reads."""
    return files[len(files) * rank // world_size : len(files) * (rank + 1) // world_size]


class ReadFolder(CountingStep):
    """Pages of a folder. `pages`: (path below `root`, why it is refused or "")."""

    def __init__(self, root: str, pages: Sequence[tuple[str, str]], limits: PageLimits) -> None:
        super().__init__("read")
        self.root = root
        self.pages = pages
        self.limits = limits

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the pages of this task."""
        from datatrove.data import Document

        for path, refused in share(self.pages, rank, world_size):
            self.count(READ)
            if refused:
                self.remove(refused)
                continue
            with self.busy():
                try:
                    html = read_capped(Path(self.root, path), self.limits.max_bytes)
                except OSError:
                    self.remove("cannot be read")
                    continue
            if html is None:
                self.remove(PAGE_TOO_LARGE)
                continue
            yield Document(text="", id=path, metadata={"html": html, "charset": "", "url": ""})


class ReadWarc(CountingStep):
    """Pages of WARC files: responses with status 200 that are HTML. Other records are passed over."""

    def __init__(self, files: Sequence[str], limits: PageLimits) -> None:
        super().__init__("read")
        self.files = files
        self.limits = limits

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the pages of this task's files."""
        for path in share(self.files, rank, world_size):
            yield from self._pages(path)

    def _pages(self, path: str) -> Iterator[Any]:
        from fastwarc.warc import ArchiveIterator, WarcRecordType

        from kosmos.data.readers.files import open_binary

        with open_binary(path) as file:
            try:
                records = iter(
                    ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True, auto_decode="all")
                )
            except (OSError, ValueError):
                self.count("damaged WARC files")
                return
            while True:
                with self.busy():
                    try:
                        record = next(records, None)
                        page = None if record is None else self._page(record, path)
                    except (OSError, ValueError, EOFError):
                        self.count("damaged WARC files")  # what follows in this file cannot be found
                        return
                if record is None:
                    return
                if page is not None:
                    yield page

    def _page(self, record: Any, path: str) -> Any:
        from datatrove.data import Document

        headers = record.http_headers
        if headers is None or headers.status_code != 200 or (record.http_content_type or "").lower() not in _HTML:
            self.count("records passed over")
            return None
        self.count(READ)
        html = record.reader.read(self.limits.max_bytes + 1)
        if len(html) > self.limits.max_bytes:
            self.remove(PAGE_TOO_LARGE)
            return None
        if len(html) < record.content_length and not _ENCODED.intersection(name.lower() for name, _ in headers):
            self.remove("page cut short")
            return None
        url = record.headers.get("WARC-Target-URI", "")
        name = record.record_id or hashlib.sha256(f"{path} {record.stream_pos}".encode()).hexdigest()
        meta = {"html": bytes(html), "charset": record.http_charset or "", "url": url, "file": path}
        return Document(text="", id=str(name), metadata=meta)


class ReadPages(CountingStep):
    """Pages that an earlier stage wrote, one file for each task."""

    def __init__(self, folder: str) -> None:
        super().__init__("read again")
        self.folder = folder

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the pages of this task."""
        import gzip
        import json

        from kosmos.data.web.page import from_json

        with gzip.open(Path(self.folder, page_file(rank)), "rt", encoding="utf-8") as file:
            for line in file:
                with self.busy():
                    page = from_json(json.loads(line))
                yield page


class WritePages(CountingStep):
    """Writes the pages of a task into one file; a later stage reads it. The file is whole or absent."""

    def __init__(self, folder: str) -> None:
        super().__init__("keep for the next stage")
        self.folder = folder

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Write every page, and pass it on."""
        import gzip
        import json
        import os

        from kosmos.data.web.page import to_json
        from kosmos.storage import make_folder

        final = make_folder(self.folder) / page_file(rank)
        part = final.with_name(f".{final.name}.part")
        with open(part, "wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
            for page in data:
                with self.busy():
                    file.write(json.dumps(to_json(page), ensure_ascii=False).encode() + b"\n")
                yield page
        os.replace(part, final)


def page_file(rank: int) -> str:
    """The name of one task's file of pages."""
    return f"{rank:05d}.jsonl.gz"
