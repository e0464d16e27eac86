"""The programs in examples/, run on a small run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import environment
from tests.cli.tiny_run import COLOURS, png

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("program", "arguments", "beginnings"),
    [
        ("generate.py", ["red.png", "blue.png"], ["caption:", "answer: ", "seed 0:", "seed 1:", "seed 2:"]),
        ("score.py", ["red.png", "red", "blue"], ["greedy:"]),
    ],
)
def test_an_example_runs(
    tiny_run: Path, tmp_path: Path, program: str, arguments: list[str], beginnings: list[str]
) -> None:
    for name in ("red", "blue"):
        (tmp_path / f"{name}.png").write_bytes(png(COLOURS[name]))
    command = [sys.executable, str(EXAMPLES / program), str(tiny_run), *arguments]
    finished = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment(), check=True
    )
    lines = finished.stdout.splitlines()
    assert [line[: len(start)] for line, start in zip(lines, beginnings, strict=False)] == beginnings
    if program == "score.py":
        # One line a name with its sum and mean, best first.
        scores = [line.split() for line in lines[1:]]
        assert {words[-1] for words in scores} == {"red", "blue"} and len(scores) == 2
        assert 0 > float(scores[0][0]) >= float(scores[1][0])


def test_every_example_is_run_here() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == ["generate.py", "score.py"]
