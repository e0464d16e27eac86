"""COPA: which of two sentences is the cause or the effect (Table 13)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, Row, hub_layout, read_layouts, read_rows
from kosmos.evaluation.tasks.text_prompts import BLANK_LINE, choice_prompt
from kosmos.example import Example

_QUESTIONS = ("cause", "effect")
_CONNECTORS = {"cause": "because", "effect": "so"}
_LM_EVAL_CONNECTORS = {"cause": "because", "effect": "therefore"}


def _read(paths: Sequence[Path]) -> list[Example]:
    return [_item(row) for row in read_rows(paths)]


def _item(row: Row) -> Example:
    fields = {
        "premise": row.filled("premise"),
        "choices": [row.filled("choice1"), row.filled("choice2")],
        "question": _QUESTIONS[row.label("question", [(question,) for question in _QUESTIONS])],
        "label": row.label("label", [(0,), (1,)]),
    }
    return Example(str(row.integer("idx")), fields)


LAYOUTS = (
    Layout(
        "official, SuperGLUE",
        {"train": ("train.jsonl", "COPA/train.jsonl"), "validation": ("val.jsonl", "COPA/val.jsonl")},
        _read,
    ),
    hub_layout("aps/super_glue", {"train": ["train"], "validation": ["validation"]}, _read, "copa"),
)


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train" and "validation" (SuperGLUE's test set has no public labels)."""
    return read_layouts("copa", folder, split, LAYOUTS)


def context(example: Example) -> str:
    return f"{example.fields['premise'].removesuffix('.')} {_CONNECTORS[example.fields['question']]}"


def candidates(example: Example) -> list[str]:
    return [f" {choice[0].lower()}{choice[1:]}" for choice in example.fields["choices"]]


def lm_eval_context(example: Example) -> str:
    # lm-eval drops the last character, whatever it is.
    return f"{example.fields['premise'].strip()[:-1]} {_LM_EVAL_CONNECTORS[example.fields['question']]}"


def lm_eval_candidates(example: Example) -> list[str]:
    return [f" {candidate}" for candidate in candidates(example)]


BENCHMARK = Benchmark(
    name="copa",
    title="COPA",
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
            normalization="sum",
            separator=BLANK_LINE,
            note="Two spaces stand before an answer, as in lm-eval's requests; the tokenizer makes them one.",
        ),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://dl.fbaipublicfiles.com/glue/superglue/data/v2/COPA.zip",
        licence="BSD 2-Clause",
        files=("train.jsonl", "val.jsonl"),
        hub="aps/super_glue",
        hub_files=("copa/train-*.parquet", "copa/validation-*.parquet"),
        how=(
            "Unpack COPA.zip of SuperGLUE and put train.jsonl and val.jsonl into the dataset's folder, or put the "
            "hub's folder copa there."
        ),
    ),
    shots=(0, 1, 4),
    demonstration_split="train",
    num_examples={"train": 400, "validation": 100},
    chance=0.5,
    paper={"accuracy": {0: 63.0, 1: 64.0, 4: 64.0}},
    table="Table 13",
    note="100 examples: one is 1 point.",
)
