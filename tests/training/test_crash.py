"""The crash matrices (benchmarks/training/crash) in their smallest forms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_NAMESPACES = shutil.which("unshare") is not None and subprocess.run(
    ["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True
).returncode == 0  # fmt: skip


def matrix(name: str, *arguments: str) -> dict[str, Any]:
    """The JSON line that ends a matrix; it must end well."""
    ended = subprocess.run(
        [sys.executable, "-m", f"benchmarks.training.crash.{name}", *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_kills() -> None:
    found = matrix("kills", "--kills", "2", "--steps", "6")
    assert (found["kills"], found["runs"], found["different"]) == (2, 2, 0)
    assert sum(found["hit"].values()) == 2


def test_kills_inside_saves() -> None:
    found = matrix("save_kills", "--kills", "2", "--steps", "4")
    assert (found["kills_inside_saves"], found["bad_loads"], found["failures"]) == (2, 0, 0)


def test_flips() -> None:
    found = matrix("flips", "--flips", "8", "--resumes", "1")
    assert (found["flips"], found["missed"], found["resumed_over_a_flip"]) == (8, 0, 1)


def test_other_numbers_of_ranks() -> None:
    found = matrix("ranks", "--kills", "2", "--next", "3")
    assert (found["kills"], found["changes_of_ranks"], found["failures"]) == (2, 2, 0)
    assert 0 <= found["largest_difference_in_the_next_steps"] <= 1e-6


def test_stops() -> None:
    found = matrix("stops", "--stops", "2", "--steps", "6", "--launches", "0")
    assert (found["stops"], found["failures"]) == (2, 0)


@pytest.mark.skipif(not _NAMESPACES, reason="no mount namespace to be had: no small disk to fill")
def test_a_full_disk() -> None:
    found = matrix("full_disk", "--fills", "2", "--steps", "4")
    assert (found["fills"], found["refused"], found["failures"]) == (2, 2, 0)


def test_restarts() -> None:
    found = matrix("restarts", "--kills", "1")
    assert (found["deaths"], found["failures"]) == (1, 0)


def test_exits() -> None:
    found = matrix("exits", "--runs", "1")
    assert (found["runs"], found["ended_well"], found["aborts"]) == (1, 1, 0)
