"""Winogrande: which of two options fills the blank (Table 13), by partial scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, hub_layout, read_layouts, read_rows
from kosmos.evaluation.tasks.text_prompts import BLANK_LINE, partial_prompt
from kosmos.evaluation.tasks.twins import with_twins
from kosmos.example import Example

_ANSWERS = [("1", 1), ("2", 2)]
_SIZES = ("xl", "l", "m", "s", "xs", "debiased")


def _read(paths: Sequence[Path]) -> list[Example]:
    sentences = [_sentence(row) for row in read_rows(paths)]
    # The hub has dropped the ids that say which are twins.
    return sentences if all(sentence.cluster for sentence in sentences) else with_twins(sentences)


def _sentence(row: Row) -> Example:
    sentence = row.filled("sentence")
    if sentence.count("_") != 1:
        raise DataError(f"{row.where}: 'sentence' must have one blank '_', not {sentence.count('_')}")
    fields = {
        "sentence": sentence,
        "options": [row.filled("option1"), row.filled("option2")],
        "label": row.label("answer", _ANSWERS),
    }
    if "qID" not in row:
        return Example(str(row.index), fields)
    # Twins have ids that differ behind the last hyphen.
    return Example(row.filled("qID"), fields, cluster=row.text("qID").rpartition("-")[0])


LAYOUTS = (
    Layout(
        "official, 1.1",
        {
            "train": ("train_xs.jsonl", "winogrande_1.1/train_xs.jsonl"),
            "validation": ("dev.jsonl", "winogrande_1.1/dev.jsonl"),
        },
        _read,
    ),
    # The splits of demonstrations and of the test lie in folders of different names.
    hub_layout("allenai/winogrande", {"train": ["train"]}, _read, "winogrande_xs"),
    hub_layout("allenai/winogrande", {"validation": ["validation"]}, _read, *(f"winogrande_{size}" for size in _SIZES)),
)


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train" (the smallest, xs) and "validation"."""
    return read_layouts("winogrande", folder, split, LAYOUTS)


def contexts(example: Example) -> list[str]:
    before = example.fields["sentence"].partition("_")[0]
    return [f"{before}{option}" for option in example.fields["options"]]


def answer(example: Example) -> str:
    return str(example.fields["sentence"].partition("_")[2])


def lm_eval_answer(example: Example) -> str:
    return f" {answer(example).strip()}"


BENCHMARK = Benchmark(
    name="winogrande",
    title="Winogrande",
    group="language",
    mode="partial",
    read=read,
    split="validation",
    prompts=(
        partial_prompt("lmops", contexts, answer),
        partial_prompt("lm_eval", contexts, lm_eval_answer, normalization="sum", separator=BLANK_LINE),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://storage.googleapis.com/ai2-mosaic/public/winogrande/winogrande_1.1.zip",
        licence="CC BY",
        files=("train_xs.jsonl", "dev.jsonl"),
        hub="allenai/winogrande",
        hub_files=("winogrande_xs/train-*.parquet", "winogrande_xl/validation-*.parquet"),
        how=(
            "Unpack winogrande_1.1.zip and put train_xs.jsonl and dev.jsonl into the dataset's folder (or the folder "
            "winogrande_1.1 itself); or put the hub's folders winogrande_xs and winogrande_xl there."
        ),
    ),
    shots=(0, 1, 4),
    demonstration_split="train",
    num_examples={"train": 160, "validation": 1267},
    chance=0.5,
    paper={"accuracy": {0: 54.8, 1: 54.5, 4: 55.7}},
    table="Table 13",
    note="Demonstrations come from the smallest training set (xs, 160 sentences), as in the harness of the paper's "
    "authors.",
)
