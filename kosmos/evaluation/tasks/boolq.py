"""BoolQ: yes or no to a question about a passage (Table 13)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, cluster_key, hub_layout, read_layouts, read_rows
from kosmos.evaluation.tasks.text_prompts import BLANK_LINE, choice_prompt
from kosmos.example import Example


def _read(paths: Sequence[Path]) -> list[Example]:
    return [_question(row) for row in read_rows(paths)]


def _question(row: Row) -> Example:
    passage = row.filled("passage")
    # The official files have true and false, the hub has 1 and 0.
    fields = {
        "question": row.filled("question"),
        "passage": passage,
        "label": row.label("label", [(False, 0), (True, 1)]),
    }
    return Example(str(row.integer("idx")), fields, cluster=cluster_key(passage))


LAYOUTS = (
    Layout(
        "official, SuperGLUE",
        {"train": ("train.jsonl", "BoolQ/train.jsonl"), "validation": ("val.jsonl", "BoolQ/val.jsonl")},
        _read,
    ),
    hub_layout("aps/super_glue", {"train": ["train"], "validation": ["validation"]}, _read, "boolq"),
)


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train" and "validation" (the test set's labels are not public)."""
    return read_layouts("boolq", folder, split, LAYOUTS)


def context(example: Example) -> str:
    return f"Passage: {example.fields['passage']} Question: {example.fields['question']}? Answer:"


def lm_eval_context(example: Example) -> str:
    return f"{example.fields['passage']}\nQuestion: {example.fields['question']}?\nAnswer:"


BENCHMARK = Benchmark(
    name="boolq",
    title="BoolQ",
    group="language",
    mode="choice",
    read=read,
    split="validation",
    prompts=(
        choice_prompt("lmops", context, lambda example: (" No", " Yes")),
        choice_prompt(
            "lm_eval", lm_eval_context, lambda example: (" no", " yes"), normalization="sum", separator=BLANK_LINE
        ),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://dl.fbaipublicfiles.com/glue/superglue/data/v2/BoolQ.zip",
        licence="CC BY-SA 3.0",
        files=("train.jsonl", "val.jsonl"),
        hub="aps/super_glue",
        hub_files=("boolq/train-*.parquet", "boolq/validation-*.parquet"),
        how=(
            "Unpack BoolQ.zip of SuperGLUE and put train.jsonl and val.jsonl into the dataset's folder, or put the "
            "hub's folder boolq there."
        ),
    ),
    shots=(0, 1, 4),
    demonstration_split="train",
    num_examples={"train": 9427, "validation": 3270},
    chance=0.5,
    paper={"accuracy": {0: 56.4, 1: 57.2, 4: 59.2}},
    table="Table 13",
    note="Always answering yes scores 62.17, above the paper's figures.",
)
