"""Rendered SST-2: the sentiment of a sentence that is drawn as a picture (Tables 7 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.document import Document
from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, hub_layout, read_layouts
from kosmos.evaluation.readers.picture_files import PictureFile, picture_table
from kosmos.evaluation.tasks.picture_prompts import one_line, picture_choice_prompt, picture_document
from kosmos.example import Example

LABELS = ("negative", "positive")
QUESTION = "Question: what is the sentiment of the opinion? Answer:"
_FOLDERS = {"train": "train", "validation": "valid", "test": "test"}
_CANDIDATES = tuple(f" {label}" for label in LABELS)


def _read_folders(paths: Sequence[Path]) -> list[Example]:
    """Paths .../SPLIT/CLASS/NAME.png; in the order of the paths."""
    examples = []
    for path in paths:
        name = path.parent.name
        if name not in LABELS:
            raise DataError(f"{path}: the folder of a picture must be {' or '.join(LABELS)}, not '{name}'")
        examples.append(Example(f"{name}/{path.stem}", {"label": LABELS.index(name)}, (PictureFile(path),)))
    return examples


def _read_hub(paths: Sequence[Path]) -> list[Example]:
    return [
        Example(str(row.index), {"label": row.label("label", [(0,), (1,)])}, (picture,))
        for row, picture in picture_table(paths)
    ]


LAYOUTS = (
    Layout(
        "official",
        {split: (f"{name}/*/*.png", f"rendered-sst2/{name}/*/*.png") for split, name in _FOLDERS.items()},
        _read_folders,
        shards=True,
    ),
    hub_layout("nateraw/rendered-sst2", {split: [split] for split in _FOLDERS}, _read_hub),
)


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train", "validation" and "test"."""
    return read_layouts("rendered_sst2", folder, split, LAYOUTS)


def question(example: Example) -> str:
    return QUESTION


def question_after_rationale(example: Example) -> str:
    return f"{one_line(example.fields['rationale'])} {QUESTION}".strip()


def introduce(example: Example) -> Document:
    return picture_document(example, "Introduce this picture in detail:")


BENCHMARK = Benchmark(
    name="rendered_sst2",
    title="Rendered SST-2",
    group="ocr_free",
    mode="choice",
    read=read,
    split="test",
    prompts=(
        picture_choice_prompt("paper", question, _CANDIDATES),
        picture_choice_prompt(
            "chain_of_thought",
            question_after_rationale,
            _CANDIDATES,
            rationale=introduce,
            note="two stages; the second keeps the picture, then come the rationale and the question",
        ),
        picture_choice_prompt(
            "chain_of_thought_without_picture",
            question_after_rationale,
            _CANDIDATES,
            rationale=introduce,
            keep_picture=False,
            note="two stages; the second has the rationale and the question alone",
        ),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://openaipublic.azureedge.net/clip/data/rendered-sst2.tgz",
        licence="none stated (sentences of the Stanford Sentiment Treebank, drawn by OpenAI)",
        files=("test/negative/*.png", "test/positive/*.png"),
        hub="nateraw/rendered-sst2",
        hub_files=("data/test-*.parquet",),
        how=(
            "Unpack rendered-sst2.tgz so that the folders train/, valid/ and test/, each with negative/ and positive/, "
            "lie in the dataset's folder: test/negative/*.png and test/positive/*.png are read. The hub's parquet "
            "files (data/test-*.parquet) are taken too."
        ),
    ),
    num_examples={"train": 6920, "validation": 872, "test": 1821},
    chance=0.5,
    paper={"accuracy": {0: 67.1}},
    table="Table 7",
    note="With the prompt chain_of_thought the paper has 72.9 (Table 9). It does not say whether the second stage "
    "still sees the picture: chain_of_thought_without_picture is the other reading. Rationales are greedy, of at most "
    "64 tokens.",
)
