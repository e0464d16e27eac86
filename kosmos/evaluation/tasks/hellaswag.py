"""HellaSwag: which of four endings continues a description (Table 13)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, hub_layout, read_layouts, read_rows
from kosmos.evaluation.tasks.text_prompts import BLANK_LINE, choice_prompt
from kosmos.example import Example

_LABELS = [(index, str(index)) for index in range(4)]


def _read(paths: Sequence[Path]) -> list[Example]:
    return [_item(row) for row in read_rows(paths)]


def _item(row: Row) -> Example:
    fields = {
        "activity": row.text("activity_label"),
        "ctx": row.filled("ctx"),
        "ctx_a": row.text("ctx_a"),
        "ctx_b": row.text("ctx_b"),
        "endings": row.texts("endings", 4),
        "label": row.label("label", _LABELS),
    }
    # Several items come from one video or one page.
    return Example(str(row.integer("ind")), fields, cluster=row.text("source_id") if "source_id" in row else "")


LAYOUTS = (
    Layout(
        "official",
        {
            "train": ("hellaswag_train.jsonl", "data/hellaswag_train.jsonl"),
            "validation": ("hellaswag_val.jsonl", "data/hellaswag_val.jsonl"),
        },
        _read,
    ),
    hub_layout("Rowan/hellaswag", {"train": ["train"], "validation": ["validation"]}, _read, "data", "default"),
)


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train" and "validation" (the test set's labels are not public)."""
    return read_layouts("hellaswag", folder, split, LAYOUTS)


def context(example: Example) -> str:
    return str(example.fields["ctx"])


def candidates(example: Example) -> list[str]:
    return [f" {ending}" for ending in example.fields["endings"]]


def cleaned(words: str) -> str:
    """As lm-eval does it: marks of WikiHow's layout go, a title's becomes a full stop, double spaces go once."""
    words = words.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", words).replace("  ", " ")


def lm_eval_context(example: Example) -> str:
    fields = example.fields
    return cleaned(f"{fields['activity']}: {fields['ctx_a']} {fields['ctx_b'].capitalize()}")


def lm_eval_candidates(example: Example) -> list[str]:
    return [f" {cleaned(ending)}" for ending in example.fields["endings"]]


BENCHMARK = Benchmark(
    name="hellaswag",
    title="HellaSwag",
    group="language",
    mode="choice",
    read=read,
    split="validation",
    prompts=(
        choice_prompt("lmops", context, candidates),
        choice_prompt(
            "lm_eval",
            lm_eval_context,
            lm_eval_candidates,
            normalization="per_character",
            separator=BLANK_LINE,
            note="lm-eval reports two accuracies, by the sum and by the sum per character; the second is quoted.",
        ),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://github.com/rowanz/hellaswag/tree/master/data",
        licence="MIT; the texts are ActivityNet's and WikiHow's",
        files=("hellaswag_train.jsonl", "hellaswag_val.jsonl"),
        hub="Rowan/hellaswag",
        hub_files=("data/train-*.parquet", "data/validation-*.parquet"),
        how=(
            "Take hellaswag_train.jsonl and hellaswag_val.jsonl from the data folder of the repository and put them "
            "into the dataset's folder, or put the hub's data folder there."
        ),
    ),
    shots=(0, 1, 4),
    demonstration_split="train",
    num_examples={"train": 39905, "validation": 10042},
    chance=0.25,
    paper={"accuracy": {0: 50.0, 1: 50.0, 4: 50.3}},
    table="Table 13",
    note="The harness of the paper's authors takes 4,000 shuffled items of large validation sets; the paper's figures "
    "fit both 4,000 and 10,042. Here all are scored.",
)
