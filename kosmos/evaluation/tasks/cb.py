"""CommitmentBank (CB): does the text imply the hypothesis, deny it, or neither (Table 13)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, cluster_key, hub_layout, read_layouts, read_rows
from kosmos.evaluation.tasks.text_prompts import BLANK_LINE, choice_prompt
from kosmos.example import Example

_LABELS = [("entailment", 0), ("contradiction", 1), ("neutral", 2)]
_ANSWERS = (" True", " False", " Neither")


def _read(paths: Sequence[Path]) -> list[Example]:
    return [_pair(row) for row in read_rows(paths)]


def _pair(row: Row) -> Example:
    premise = row.filled("premise")
    fields = {"premise": premise, "hypothesis": row.filled("hypothesis"), "label": row.label("label", _LABELS)}
    return Example(str(row.integer("idx")), fields, cluster=cluster_key(premise))


LAYOUTS = (
    Layout(
        "official, SuperGLUE",
        {"train": ("train.jsonl", "CB/train.jsonl"), "validation": ("val.jsonl", "CB/val.jsonl")},
        _read,
    ),
    hub_layout("aps/super_glue", {"train": ["train"], "validation": ["validation"]}, _read, "cb"),
)


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train" and "validation" (the test set's labels are not public)."""
    return read_layouts("cb", folder, split, LAYOUTS)


def context(example: Example) -> str:
    fields = example.fields
    return f"{fields['premise']} Question: {fields['hypothesis']}. True, False, or Neither? Answer:"


def lm_eval_context(example: Example) -> str:
    fields = example.fields
    return f"{fields['premise']}\nQuestion: {fields['hypothesis']}. True, False, or Neither?\nAnswer:"


BENCHMARK = Benchmark(
    name="cb",
    title="CB",
    group="language",
    mode="choice",
    read=read,
    split="validation",
    prompts=(
        choice_prompt("lmops", context, lambda example: _ANSWERS),
        choice_prompt("lm_eval", lm_eval_context, lambda example: _ANSWERS, normalization="sum", separator=BLANK_LINE),
    ),
    metrics=("accuracy", "f1_macro"),
    source=Source(
        url="https://dl.fbaipublicfiles.com/glue/superglue/data/v2/CB.zip",
        licence="for research, as SuperGLUE redistributes it",
        files=("train.jsonl", "val.jsonl"),
        hub="aps/super_glue",
        hub_files=("cb/train-*.parquet", "cb/validation-*.parquet"),
        how=(
            "Unpack CB.zip of SuperGLUE and put train.jsonl and val.jsonl into the dataset's folder, or put the hub's "
            "folder cb there."
        ),
    ),
    shots=(0, 1, 4),
    demonstration_split="train",
    num_examples={"train": 250, "validation": 56},
    chance=1 / 3,
    paper={"accuracy": {0: 44.6, 1: 48.2, 4: 53.6}},
    table="Table 13",
    note="56 examples: one is 1.8 points. Always answering False scores 50.0.",
)
