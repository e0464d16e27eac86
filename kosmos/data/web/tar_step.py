"""The step that writes documents into tars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kosmos.data.tar_writer import InterleavedTarWriter, ShardWriter
from kosmos.data.web.page import interleave
from kosmos.data.web.step import KEPT, CountingStep

KEPT_PICTURES = "kept pictures"


class WriteTars(CountingStep):
    """Writes the documents of a task into `{task:05d}-{number:05d}.tar`, as the reader `interleaved_tar` reads them.

    What an earlier try of the task left is removed first, so that a task leaves the same files however often it ran.
    """

    def __init__(self, folder: str, max_records: int, max_bytes: int) -> None:
        super().__init__("write")
        self.folder = folder
        self.max_records = max_records
        self.max_bytes = max_bytes

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Write every document, and yield none."""
        prefix = f"{rank:05d}-"
        folder = Path(self.folder)
        for left in [*folder.glob(f"{prefix}*.tar"), *folder.glob(f".{prefix}*.part")]:
            left.unlink()
        with ShardWriter(folder, InterleavedTarWriter, prefix, self.max_records, self.max_bytes) as shards:
            for page in data:
                with self.busy():
                    texts, images = interleave(page.text, [(media.offset, media.media_bytes) for media in page.media])
                    tar, key = shards.next()
                    meta = {"id": page.id, "url": page.metadata.get("url") or None}
                    meta["image_urls"] = [media.url if len(media.url) <= 2048 else None for media in page.media]
                    tar.add(f"{rank:05d}{key}", texts, images, meta=meta)
                self.count(KEPT)
                self.count(KEPT_PICTURES, len(page.media))
        yield from ()
