"""COCO captions in Karpathy's splits (Tables 2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, read_layouts, read_rows
from kosmos.evaluation.readers.picture_files import PictureFile
from kosmos.evaluation.tasks.karpathy import (
    CAPTION_DECODING,
    CAPTION_METRICS,
    CAPTION_SHOTS,
    SPLITS,
    caption_prompt,
    captioned,
    read_karpathy,
    sentences,
)
from kosmos.example import Example

_FILES = ("dataset_coco.json", "annotations/dataset_coco.json", "caption_datasets/dataset_coco.json")
# All tables: our training split is two of theirs, and the column `split` tells.
_TABLES = ("data/*.parquet", "*.parquet")


def _picture(folder: Path, row: Row) -> Path:
    """folder/val2014/COCO_val2014_...jpg, or the same inside folder/images."""
    name = Path(row.filled("filepath")) / row.filled("filename")
    inside = folder / "images" / name
    return inside if (folder / "images").is_dir() else folder / name


def _read(folder: Path, split: str, paths: Sequence[Path]) -> list[Example]:
    (path,) = paths
    return read_karpathy(path, split, "cocoid", partial(_picture, folder))


def _read_hub(folder: Path, split: str, paths: Sequence[Path]) -> list[Example]:
    return [
        captioned(str(row.integer("cocoid")), sentences(row), PictureFile(_picture(folder, row)))
        for row in read_rows(paths)
        if row.filled("split") in SPLITS[split]
    ]


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train" (with restval), "validation" and "test"."""
    layouts = (
        Layout("Karpathy's splits", dict.fromkeys(SPLITS, _FILES), partial(_read, folder, split)),
        Layout(
            "as on the hub, yerevann/coco-karpathy",
            dict.fromkeys(SPLITS, _TABLES),
            partial(_read_hub, folder, split),
            shards=True,
        ),
    )
    return read_layouts("coco_caption", folder, split, layouts)


BENCHMARK = Benchmark(
    name="coco_caption",
    title="COCO Caption",
    group="captioning",
    mode="generate",
    read=read,
    split="test",
    prompts=(caption_prompt(),),
    metrics=CAPTION_METRICS,
    source=Source(
        url="https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
        licence="captions CC BY 4.0; pictures under the terms of Flickr",
        files=("dataset_coco.json", "val2014/*.jpg", "train2014/*.jpg"),
        hub="yerevann/coco-karpathy",
        hub_files=("data/test-*.parquet", "val2014/*.jpg"),
        how=(
            "Take dataset_coco.json out of caption_datasets.zip, and unpack "
            "http://images.cocodataset.org/zips/val2014.zip (the test pictures are in it) and, for demonstrations, "
            "train2014.zip; the folders val2014/ and train2014/ lie beside the file, or in images/. The hub's tables "
            "have no pictures: they need the same folders."
        ),
    ),
    shots=CAPTION_SHOTS,
    demonstration_split="train",
    num_examples={"train": 113_287, "validation": 5000, "test": 5000},
    decoding=CAPTION_DECODING,
    paper={"cider": {0: 84.7, 2: 99.6, 4: 101.7, 8: 96.7}, "spice": {0: 16.8}},
    table="Tables 2 and 3",
    note="Demonstrations come from train and restval and show their first caption. The limit of 64 tokens is ours.",
)
