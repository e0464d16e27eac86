from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.table1_run import evaluate_cells, settle_batch_size, settle_threads
from kosmos.evaluation.tasks.table1 import get_benchmark
from tests.evaluation.small_model import save_small, write_datasets


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_an_evaluation_keeps_its_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun gives one thread where a process alone has all cores: the sums would differ in their last bits."""
    model, data = save_small(tmp_path), write_datasets(tmp_path / "data", "copa")
    copa = get_benchmark("copa")
    for told, used in (("1", 1), ("2", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        evaluate_cells(model, [Cell(copa, copa.prompt())], data=data, out=tmp_path / "out", quiet=True)
        assert torch.get_num_threads() == used
        assert json.loads((tmp_path / "out" / "plan.json").read_text())["facts"]["threads"] == used
    assert settle_threads(tmp_path / "another") == 2 == torch.get_num_threads()


def test_an_evaluation_keeps_its_batch_size(tmp_path: Path) -> None:
    assert settle_batch_size(tmp_path, 16) == 16
    (tmp_path / "plan.json").write_text('{"facts": {"batch_size": 8}}')
    assert settle_batch_size(tmp_path, 16) == 8
