from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.cli.main import main
from kosmos.evaluation.tasks.table1 import get_benchmark


def test_make_writes_items_that_the_dataset_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "eval-data" / "iq50"
    assert main(["eval", "iq", "make", "--n", "4", "--size", "24", "--seed", "3", "--out", str(out)]) == 0
    assert capsys.readouterr().err == f"{out / 'iq.json'}: 4 stand-ins, not the paper's items\n"
    items = get_benchmark("iq50").read(out, "test")
    assert [item.fields["given"] for item in items] == [3, 4, 8, 3]
    assert json.loads((out / "iq.json").read_text())["seed"] == 3
    assert sorted(path.name for path in out.iterdir()) == ["001", "002", "003", "004", "iq.json"]


def test_make_leaves_what_is_there_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["eval", "iq", "make", "--out", str(tmp_path)]) == 2
    assert "is there already; name a new folder with --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_wrong_numbers_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "new")
    assert main(["eval", "iq", "make", "--n", "0", "--out", out]) == 2
    assert main(["eval", "iq", "make", "--seed", "-1", "--out", out]) == 2
    assert "--seed -1: give 0 or more" in capsys.readouterr().err
