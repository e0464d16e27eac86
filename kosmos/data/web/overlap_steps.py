"""Overlap with evaluation data as a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kosmos.data.web.overlap import OverlapIndex
from kosmos.data.web.step import CountingStep


class DropOverlaps(CountingStep):
    """Drops documents that overlap the evaluation data of an index file."""

    def __init__(self, index: str) -> None:
        super().__init__("evaluation data")
        self.index = index

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the documents without overlap."""
        index = OverlapIndex.load(Path(self.index))
        for document in data:
            with self.busy():
                overlaps = index.overlaps(document.text)
            if overlaps:
                self.remove("overlaps evaluation data", len(document.media))
            else:
                yield document
