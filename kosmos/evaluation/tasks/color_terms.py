"""ColorTerms: the usual colour of 52 objects, by text alone (Tables 15 and 16)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kosmos.evaluation.benchmark import Benchmark, Source
from kosmos.evaluation.readers.dataset_files import Layout, read_layouts, read_rows
from kosmos.evaluation.tasks.colors import COLORS, UNKNOWN, color_example, color_prompts
from kosmos.example import Example


def _read(paths: Sequence[Path]) -> list[Example]:
    return [color_example(row, "", row.filled("object"), row.filled("color")) for row in read_rows(paths)]


LAYOUTS = (
    Layout(
        "VaLM's copy",
        {"test": ("color-concrete-objects.csv", "data/object_color/color-concrete-objects.csv")},
        _read,
    ),
)


def read(folder: Path, split: str) -> list[Example]:
    """Split "test": all there is."""
    return read_layouts("color_terms", folder, split, LAYOUTS)


BENCHMARK = Benchmark(
    name="color_terms",
    title="ColorTerms",
    group="transfer",
    mode="choice",
    read=read,
    split="test",
    prompts=color_prompts(),
    metrics=("accuracy",),
    source=Source(
        url="https://github.com/Victorwz/VaLM/tree/main/data/object_color",
        licence="none stated",
        files=("color-concrete-objects.csv",),
        how=(
            "Take color-concrete-objects.csv from data/object_color of Victorwz/VaLM and put it into the dataset's "
            "folder."
        ),
    ),
    num_examples={"test": 52},
    chance=1 / len(COLORS),
    paper={"accuracy": {0: 73.1}},
    table="Table 16",
    note="No object is purple, but purple is among the 11 answers. 52 examples: one is 1.9 points. VaLM's script "
    f"leaves its mark for the descriptor in these prompts; here it goes. {UNKNOWN}",
)
