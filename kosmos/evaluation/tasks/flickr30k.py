"""Flickr30k captions in Karpathy's splits (Tables 2 and 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from kosmos.document import Image
from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, read_csv, read_layouts
from kosmos.evaluation.readers.picture_files import PictureFile, picture_folder, picture_table
from kosmos.evaluation.tasks.karpathy import (
    CAPTION_DECODING,
    CAPTION_METRICS,
    CAPTION_SHOTS,
    SPLITS,
    caption_prompt,
    captioned,
    read_karpathy,
)
from kosmos.example import Example

_FILES = ("dataset_flickr30k.json", "caption_datasets/dataset_flickr30k.json")
_TABLE = ("flickr_annotations_30k.csv",)
# All 31,014 rows are in the hub's split "test"; the real split is a column.
_PARQUET = ("*test*.parquet", "*/*test*.parquet", "TEST/*.parquet", "*/test/*.parquet")


def _picture(folder: Path, row: Row) -> Path:
    pictures = picture_folder(folder, "flickr30k-images", "flickr30k_images", "images")
    return pictures / row.filled("filename")


def _read(folder: Path, split: str, paths: Sequence[Path]) -> list[Example]:
    (path,) = paths
    return read_karpathy(path, split, "filename", partial(_picture, folder))


def _read_table(folder: Path, split: str, paths: Sequence[Path]) -> list[Example]:
    """The hub's CSV file: captions are a JSON list in the column `raw`; the pictures lie in a folder."""
    (path,) = paths
    rows = [row for row in read_csv(path) if row.filled("split") in SPLITS[split]]
    return [_captioned(row, _captions(row), PictureFile(_picture(folder, row))) for row in rows]


def _read_parquet(split: str, paths: Sequence[Path]) -> list[Example]:
    """The hub's table with pictures: captions in the column `caption`."""
    return [
        _captioned(row, row.texts("caption"), picture)
        for row, picture in picture_table(paths)
        if row.filled("split") in SPLITS[split]
    ]


def _captioned(row: Row, captions: list[str], picture: Image) -> Example:
    return captioned(row.filled("filename"), captions, picture)


def _captions(row: Row) -> list[str]:
    try:
        values: Mapping[str, object] = {"raw": json.loads(row.filled("raw"))}
    except ValueError as error:
        raise DataError(f"{row.where}: 'raw' must be a JSON list of captions: {error}") from error
    return Row(row.where, row.index, values).texts("raw")


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train", "validation" and "test"."""
    hub = "as on the hub, nlphuji/flickr30k"
    layouts = (
        Layout("Karpathy's splits", dict.fromkeys(SPLITS, _FILES), partial(_read, folder, split)),
        Layout(hub, dict.fromkeys(SPLITS, _TABLE), partial(_read_table, folder, split)),
        Layout(hub, dict.fromkeys(SPLITS, _PARQUET), partial(_read_parquet, split), shards=True),
    )
    return read_layouts("flickr30k", folder, split, layouts)


BENCHMARK = Benchmark(
    name="flickr30k",
    title="Flickr30k",
    group="captioning",
    mode="generate",
    read=read,
    split="test",
    prompts=(caption_prompt(),),
    metrics=CAPTION_METRICS,
    source=Source(
        url="https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
        licence="captions CC BY-SA 3.0; pictures by a form of the University of Illinois, under the terms of Flickr",
        files=("dataset_flickr30k.json", "flickr30k-images/*.jpg"),
        hub="nlphuji/flickr30k",
        hub_files=("flickr_annotations_30k.csv", "flickr30k-images/*.jpg"),
        gated=True,
        how=(
            "Take dataset_flickr30k.json out of caption_datasets.zip; ask for the pictures by the form at "
            "https://shannon.cs.illinois.edu/DenotationGraph and unpack them as flickr30k-images/ beside it. The hub's "
            "flickr_annotations_30k.csv with flickr30k-images.zip unpacked is taken too, and so are parquet files with "
            "the pictures in them."
        ),
    ),
    shots=CAPTION_SHOTS,
    demonstration_split="train",
    num_examples={"train": 29_000, "validation": 1014, "test": 1000},
    decoding=CAPTION_DECODING,
    paper={"cider": {0: 67.1, 2: 70.0, 4: 75.3, 8: 68.0}, "spice": {0: 14.5}},
    table="Tables 2 and 3",
    note="Karpathy's 1,000 test pictures: the hub's split of the name test has all 31,014, and is not meant. "
    "Demonstrations show their first caption. The limit of 64 tokens is ours.",
)
