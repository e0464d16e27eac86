"""Corpora on disk in every container, with pictures, made from a seed; each document carries a word of its own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from kosmos.config import CorpusConfig, SourceConfig
from kosmos.data.tar_writer import InterleavedTarWriter, PairsTarWriter
from kosmos.document import Image
from kosmos.images import decode_image, preprocess
from tests.data.words import WordProcessor

# Words below this are filler; each document's first word is its own.
FIRST_OWN_WORD = 100
PICTURE_SIZE = 4

TEXT = ("jsonl", "parquet", "text", "text_blocks")
PAIRS = ("pairs_tar", "pairs_parquet", "instructions")
INTERLEAVED = ("interleaved_tar",)


class PictureProcessor(WordProcessor):
    """Words as WordProcessor; pictures are decoded and brought to 4 x 4 pixels, as in training."""

    def pixels(self, image: Image) -> np.ndarray:
        return preprocess(decode_image(image), PICTURE_SIZE, training=True)


def png(rng: np.random.Generator) -> bytes:
    """A small picture of noise."""
    out = io.BytesIO()
    side = rng.integers(4, 9, 2)
    PIL.Image.fromarray(rng.integers(0, 256, (*side, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


class Corpora:
    """Writes corpora into a folder; `entries` are named by reader."""

    def __init__(self, folder: Path, seed: int, records: int, shards: int = 2) -> None:
        self._rng = np.random.default_rng(seed)
        self._own = FIRST_OWN_WORD
        self.entries: dict[str, CorpusConfig] = {}
        for reader in (*TEXT, *PAIRS, *INTERLEAVED):
            where = folder / reader
            where.mkdir(parents=True)
            for shard in range(shards):
                getattr(self, f"_{reader}")(where, shard, records)
            self.entries[reader] = CorpusConfig(reader, str(where))

    def words(self, most: int = 12) -> str:
        """A document's text: its own word, then filler in lines and sentences."""
        self._own += 1
        count = int(self._rng.integers(0, most))
        filler = self._rng.choice(["w1", "w2", "w3", "."], count, p=[0.3, 0.3, 0.2, 0.2])
        return " ".join([f"w{self._own}", *filler])

    def _jsonl(self, folder: Path, shard: int, records: int) -> None:
        lines = [json.dumps({"text": self.words()}) + "\n" for _ in range(records)]
        (folder / f"{shard}.jsonl").write_text("".join(lines))

    def _parquet(self, folder: Path, shard: int, records: int) -> None:
        write_parquet(folder / f"{shard}.parquet", {"text": [self.words() for _ in range(records)]})

    def _text(self, folder: Path, shard: int, records: int) -> None:
        for number in range(records):
            (folder / f"{shard}-{number:03d}.txt").write_text(self.words())

    def _text_blocks(self, folder: Path, shard: int, records: int) -> None:
        (folder / f"{shard}.txt").write_text("\n\n".join(self.words() for _ in range(records)))

    def _pairs_tar(self, folder: Path, shard: int, records: int) -> None:
        with PairsTarWriter(folder / f"{shard}.tar") as tar:
            for number in range(records):
                tar.add(f"{number:05d}", png(self._rng), self.words(6))

    def _pairs_parquet(self, folder: Path, shard: int, records: int) -> None:
        images = [{"bytes": png(self._rng), "path": None} for _ in range(records)]
        captions = [self.words(6) for _ in range(records)]
        write_parquet(folder / f"{shard}.parquet", {"image": images, "caption": captions})

    def _instructions(self, folder: Path, shard: int, records: int) -> None:
        lines = [{"instruction": self.words(4), "input": "w1", "output": "w2 w3"} for _ in range(records)]
        (folder / f"{shard}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def _interleaved_tar(self, folder: Path, shard: int, records: int) -> None:
        with InterleavedTarWriter(folder / f"{shard}.tar") as tar:
            for number in range(records):
                segments: list[Any] = []
                for _ in range(int(self._rng.integers(1, 4))):
                    segments += [self.words(5), png(self._rng)]
                texts = [s if isinstance(s, str) else None for s in segments]
                images = [s if isinstance(s, bytes) else None for s in segments]
                tar.add(f"{number:05d}", texts, images)

    def layout(self, rows: tuple[int, int, int], micro: int, length: int = 24) -> dict[str, SourceConfig]:
        """Text, pairs and interleaved documents over all of the corpora."""
        text, pairs, pages = (tuple(self.entries[name] for name in names) for names in (TEXT, PAIRS, INTERLEAVED))
        return {
            "text": SourceConfig(rows[0], micro, length, text, leading_start=False),
            "pairs": SourceConfig(rows[1], micro, length, pairs, document_mask=True, weigh_by="documents"),
            "interleaved": SourceConfig(rows[2], micro, length, pages),
        }


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=5)
