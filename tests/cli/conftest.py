"""The command `kosmos` as a real process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.cli.process import Command, environment


@pytest.fixture(scope="session")
def kosmos() -> Command:
    """`kosmos("train", recipe, cwd=folder)` runs the command and returns the finished process."""

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        settings = {"capture_output": True, "text": True, "timeout": 120, "env": environment(), **options}
        return subprocess.run([sys.executable, "-m", "kosmos", *map(str, arguments)], **settings)

    return run
