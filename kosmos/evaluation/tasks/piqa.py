"""PIQA: which of two ways reaches a goal (Table 13)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import (
    Layout,
    Row,
    cluster_key,
    hub_layout,
    read_layouts,
    read_lines,
    read_rows,
)
from kosmos.evaluation.tasks.text_prompts import BLANK_LINE, choice_prompt
from kosmos.example import Example


def _read_official(paths: Sequence[Path]) -> list[Example]:
    """Goals in one file, their labels line by line in another."""
    (path,) = paths
    rows = read_rows(paths)
    labels_path = path.with_name(f"{path.stem}-labels.lst")
    if not labels_path.is_file():
        raise DataError(f"{path}: its labels are missing; put {labels_path.name} beside it")
    labels = [line.strip() for line in read_lines(labels_path)]
    if len(labels) != len(rows):
        raise DataError(f"{labels_path}: {len(labels)} labels for the {len(rows)} goals of {path.name}")
    wrong = next((number for number, label in enumerate(labels, start=1) if label not in ("0", "1")), None)
    if wrong:
        raise DataError(f"{labels_path}, line {wrong}: a label must be 0 or 1, not '{labels[wrong - 1]}'")
    return [_goal(row, int(label)) for row, label in zip(rows, labels)]


def _read_hub(paths: Sequence[Path]) -> list[Example]:
    return [_goal(row, row.label("label", [(0,), (1,)])) for row in read_rows(paths)]


def _goal(row: Row, label: int) -> Example:
    goal = row.filled("goal")
    fields = {"goal": goal, "solutions": [row.filled("sol1"), row.filled("sol2")], "label": label}
    return Example(str(row.index), fields, cluster=cluster_key(goal))


LAYOUTS = (
    Layout(
        "official, with -labels.lst beside it",
        {"train": ("train.jsonl",), "validation": ("valid.jsonl", "dev.jsonl")},
        _read_official,
    ),
    hub_layout("baber/piqa", {"train": ["train"], "validation": ["validation"]}, _read_hub, "data", "plain_text"),
)


def read(folder: Path, split: str) -> list[Example]:
    """Splits "train" and "validation" (the test set's labels are not public)."""
    return read_layouts("piqa", folder, split, LAYOUTS)


def context(example: Example) -> str:
    return str(example.fields["goal"])


def candidates(example: Example) -> list[str]:
    return [f" {solution}" for solution in example.fields["solutions"]]


def lm_eval_context(example: Example) -> str:
    return f"Question: {example.fields['goal']}\nAnswer:"


BENCHMARK = Benchmark(
    name="piqa",
    title="PIQA",
    group="language",
    mode="choice",
    read=read,
    split="validation",
    prompts=(
        choice_prompt("lmops", context, candidates),
        choice_prompt(
            "lm_eval",
            lm_eval_context,
            candidates,
            normalization="sum",
            separator=BLANK_LINE,
            note="lm-eval reports two accuracies, by the sum and by the sum per character.",
        ),
    ),
    metrics=("accuracy",),
    source=Source(
        url="https://yonatanbisk.com/piqa/",
        licence="AFL 3.0",
        files=("train.jsonl", "train-labels.lst", "valid.jsonl", "valid-labels.lst"),
        hub="baber/piqa",
        hub_files=("data/train-*.parquet", "data/validation-*.parquet"),
        how=(
            "Take train.jsonl, train-labels.lst, valid.jsonl and valid-labels.lst from the dataset's page and put them "
            "into the dataset's folder: labels lie beside the goals, line by line."
        ),
    ),
    shots=(0, 1, 4),
    demonstration_split="train",
    num_examples={"train": 16113, "validation": 1838},
    chance=0.5,
    paper={"accuracy": {0: 72.9, 1: 72.5, 4: 72.3}},
    table="Table 13",
)
