"""MemoryColor: the usual colour of 109 objects, by text alone (Tables 15 and 16)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, read_layouts, read_rows
from kosmos.evaluation.tasks.colors import COLORS, UNKNOWN, color_example, color_prompts
from kosmos.example import Example


def _read_authors(paths: Sequence[Path]) -> list[Example]:
    return [
        color_example(row, row.text("descriptor"), row.filled("item"), row.filled("label")) for row in read_rows(paths)
    ]


def _read_valm(paths: Sequence[Path]) -> list[Example]:
    return [
        color_example(row, row.text("Descriptor"), row.filled("Item"), row.filled("Color")) for row in read_rows(paths)
    ]


LAYOUTS = (
    Layout("the authors'", {"test": ("memory_colors.jsonl", "memory_colors/data/memory_colors.jsonl")}, _read_authors),
    Layout("VaLM's copy", {"test": ("memory_color_data.csv", "data/object_color/memory_color_data.csv")}, _read_valm),
)


def read(folder: Path, split: str) -> list[Example]:
    """Split "test": all there is. Where both files lie, the authors' is read."""
    return read_layouts("memory_color", folder, split, LAYOUTS)


BENCHMARK = Benchmark(
    name="memory_color",
    title="MemoryColor",
    group="transfer",
    mode="choice",
    read=read,
    split="test",
    prompts=color_prompts(),
    metrics=("accuracy",),
    source=Source(
        url="https://github.com/lovhag/measure-visual-commonsense-knowledge",
        licence="none stated (paper: arXiv 2109.11321)",
        files=("memory_colors.jsonl",),
        how=(
            "Take memory_colors/data/memory_colors.jsonl from the authors' repository and put it into the dataset's "
            "folder; memory_color_data.csv from data/object_color of Victorwz/VaLM is read too when the other is not "
            "there."
        ),
    ),
    num_examples={"test": 109},
    chance=1 / len(COLORS),
    paper={"accuracy": {0: 76.1}},
    table="Table 16",
    note="The two files disagree on one label: the pumpkin is orange in the authors' and red in VaLM's. Always "
    f"answering white scores 22.94. {UNKNOWN}",
)
