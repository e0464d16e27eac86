"""The command `kosmos` as a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kosmos.cli.main import main
from tests.cli.process import Command, environment
from tests.cli.tiny_run import prepare


@pytest.fixture(scope="session")
def kosmos() -> Command:
    """`kosmos("train", recipe, cwd=folder)` runs the command and returns the finished process."""

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        settings = {"capture_output": True, "text": True, "timeout": 120, "env": environment(), **options}
        return subprocess.run([sys.executable, "-m", "kosmos", *map(str, arguments)], **settings)

    return run


@pytest.fixture
def kosmos_here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """As `kosmos`, but inside this process, where torch is loaded already: for calls that end before any training."""

    def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        capfd.readouterr()
        words = list(map(str, arguments))
        code = main(words)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with corpus.jsonl, pairs.tar, tokenizer/ and recipe.yaml; not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    prepare(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_files: Path, kosmos: Command) -> Path:
    """A finished run of the tiny recipe; not to be changed."""
    finished = kosmos("train", "recipe.yaml", "--out", "run", "--quiet", cwd=tiny_files)
    assert (finished.returncode, finished.stdout) == (0, ""), finished.stderr
    assert finished.stderr == ""
    return tiny_files / "run"
