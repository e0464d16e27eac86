"""HatefulMemes: is a picture with words on it hateful (Table 7), by the order of P(yes) against P(no)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, hub_layout, read_layouts, read_rows
from kosmos.evaluation.readers.picture_files import PictureFile
from kosmos.evaluation.tasks.picture_prompts import picture_choice_prompt
from kosmos.example import Example

# The first release called its validation set dev, the challenge's second phase dev_seen; they are the same 500.
_SPLITS = {
    "train": ("train",),
    "validation": ("dev_seen", "dev"),
    "dev_unseen": ("dev_unseen",),
    "test_seen": ("test_seen",),
    "test_unseen": ("test_unseen",),
}


def _read(folder: Path, paths: Sequence[Path]) -> list[Example]:
    memes = []
    for row in read_rows(paths):
        picture = PictureFile(_picture(folder, row.filled("img")))
        memes.append(Example(str(row.integer("id")), {"label": row.label("label", [(0,), (1,)])}, (picture,)))
    return memes


def _picture(folder: Path, name: str) -> Path:
    """`name` is "img/12345.png", relative to where the JSON lines lie."""
    inside = folder / "hateful_memes" / name
    return inside if inside.is_file() else folder / name


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train", "validation" (dev_seen), "dev_unseen", "test_seen" and "test_unseen"."""
    layouts = (
        Layout(
            "official",
            {
                name: tuple(f"{place}{file}.jsonl" for file in files for place in ("", "data/", "hateful_memes/"))
                for name, files in _SPLITS.items()
            },
            partial(_read, folder),
        ),
        hub_layout(
            "neuralcatcher/hateful_memes",
            {"train": ["train"], "validation": ["validation"]},
            partial(_read, folder),
        ),
    )
    return read_layouts("hateful_memes", folder, split, layouts)


def question(example: Example) -> str:
    return "Question: does this picture contain real hate speech? Answer:"


BENCHMARK = Benchmark(
    name="hateful_memes",
    title="HatefulMemes",
    group="ocr_free",
    mode="choice",
    read=read,
    split="validation",
    # P(yes) is that of the whole answer, so the sum counts, whatever the tokens.
    prompts=(picture_choice_prompt("paper", question, (" no", " yes"), normalization="sum"),),
    metrics=("roc_auc", "accuracy"),
    source=Source(
        url="https://hatefulmemeschallenge.com",
        licence="Hateful Memes Challenge licence: research only, not to be passed on",
        files=("dev_seen.jsonl", "img/*.png"),
        hub="neuralcatcher/hateful_memes",
        hub_files=("data/validation-*.parquet",),
        gated=True,
        how=(
            "The licence must be accepted and forbids passing the data on. Register for the challenge (DrivenData, "
            "Hateful Memes phase 2), download the archive, and put dev_seen.jsonl (or dev.jsonl of the first release: "
            "the same 500 memes) and the folder img/ into the dataset's folder. A table of the hub needs the folder "
            "img/ beside it all the same."
        ),
    ),
    num_examples={"train": 8500, "validation": 500, "dev_unseen": 540, "test_seen": 1000, "test_unseen": 2000},
    chance=0.5,
    paper={"roc_auc": {0: 63.9}},
    table="Table 7",
    note="The words on the picture are not given as text: the model has to read them. Label 1, hateful, is ` yes`; "
    "the score is the log-odds of yes against no, in the order of P(yes) over the two. The caption of Table 7 says "
    "accuracy; section 4.3.1 says ROC AUC, and the figures are of it.",
)
