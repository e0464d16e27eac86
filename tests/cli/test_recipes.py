"""`kosmos recipes`, and `kosmos train` by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.cli.main import main
from kosmos.presets import load_recipe
from tests.cli.process import Command, one_line


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"kosmos-1", "llm-baseline", "kosmos-1-instruct", "kosmos-small", "kosmos-1-twin"} <= set(names)


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "show", "llm-baseline"]) == 0
    assert "recipe: kosmos-1\n" in capsys.readouterr().out


def test_a_copy_reads_back_equal_and_never_writes_over(tmp_path: Path, kosmos: Command) -> None:
    file = tmp_path / "mine.yaml"
    assert main(["recipes", "copy", "llm-baseline", str(file)]) == 0
    assert load_recipe(file) == load_recipe("llm-baseline")
    finished = kosmos("recipes", "copy", "kosmos-1", file)
    assert finished.returncode == 2 and "is there already" in one_line(finished)


def test_unknown_names(kosmos: Command, tmp_path: Path) -> None:
    finished = kosmos("recipes", "show", "kosmos1")
    assert finished.returncode == 2 and "did you mean 'kosmos-1'?" in one_line(finished)
    finished = kosmos("train", "kosmos1", "--out", tmp_path / "run")
    assert finished.returncode == 2 and "did you mean 'kosmos-1'?" in one_line(finished)


def test_keys_of_a_recipe_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "kosmos-1-instruct", "--keys", "--data.sources.pairs", "null"]) == 0
    shown = capsys.readouterr().out
    assert "--start-from" in shown and "runs/kosmos-1" in shown


def test_a_root_that_is_not_set(kosmos: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KOSMOS_DATA", raising=False)
    finished = kosmos("train", "llm-baseline", "--out", tmp_path / "run")
    assert finished.returncode == 2
    assert "KOSMOS_DATA" in one_line(finished) and "--data.root" in one_line(finished)
    assert not (tmp_path / "run").exists()
