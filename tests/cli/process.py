"""What the tests of the command line share: a quiet environment, the one line of an error, a small corpus."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def environment() -> dict[str, str]:
    """One thread, no terminal, no hub."""
    quiet = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TERM": "dumb", "NO_COLOR": "1"}
    return {**os.environ, **quiet}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def one_line(finished: subprocess.CompletedProcess[str]) -> str:
    """The single line of an error; fails when there is more or less than that."""
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("kosmos: error: ")
    return lines[0].removeprefix("kosmos: error: ")


def write_corpus(file: Path, lines: int = 200) -> None:
    """Sentences of a small made-up grammar, as {"text": ...} lines."""
    rng = random.Random(7)
    things, verbs, places = (
        ["cat", "dog", "bird", "fish", "horse"],
        ["sees", "likes", "finds", "paints"],
        ["house", "tree", "sea"],
    )
    with file.open("w", encoding="utf-8") as out:
        for _ in range(lines):
            a, b = rng.sample(things, 2)
            text = f"The {a} {rng.choice(verbs)} the {b} near the {rng.choice(places)}."
            out.write(json.dumps({"text": text}) + "\n")
