"""What names a model in a resumed evaluation: a change of anything its answers depend on is another model."""

from __future__ import annotations

from pathlib import Path

import pytest

from kosmos.errors import UsageError
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.table1_run import evaluate_cells, model_key
from kosmos.evaluation.tasks.table1 import get_benchmark
from tests.evaluation.small_model import save_small, write_datasets

FILES = ("model.safetensors", "config.yaml", "tokenizer.model", "processor.yaml")


@pytest.mark.parametrize("name", FILES)
def test_each_file_counts(name: str, tmp_path: Path) -> None:
    model = save_small(tmp_path)
    before = model_key(model, "fp32", "cpu")
    assert model_key(model, "fp32", "cpu") == before
    path = model / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert model_key(model, "fp32", "cpu") != before


def test_numerics_count_and_the_number_of_a_device_does_not(tmp_path: Path) -> None:
    model = save_small(tmp_path)
    assert model_key(model, "fp32", "cpu") != model_key(model, "bf16", "cpu") != model_key(model, "bf16", "cuda")
    assert model_key(model, "bf16", "cuda:0") == model_key(model, "bf16", "cuda:1")


def test_another_configuration_is_not_gone_on_with(tmp_path: Path) -> None:
    """The same weights with another configuration answer differently: finished answers must not be taken."""
    model, data, copa = save_small(tmp_path), write_datasets(tmp_path / "data", "copa"), get_benchmark("copa")
    cells = [Cell(copa, copa.prompt())]
    evaluate_cells(model, cells, data=data, out=tmp_path / "out", quiet=True)
    config = model / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    with pytest.raises(UsageError, match="of another configuration or tokenizer"):
        evaluate_cells(model, cells, data=data, out=tmp_path / "out", quiet=True)
