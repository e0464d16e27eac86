from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import kosmos.training.checkpoint as checkpoint
from kosmos.config import OptimizerConfig, TrainConfig
from kosmos.errors import StorageError
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import resolve, steps
from kosmos.storage import check_manifest
from kosmos.tokenizer import Tokenizer
from kosmos.training.checkpoint import (
    TrainingState,
    latest_checkpoint,
    load_model,
    load_optimizer,
    read_state,
    save_checkpoint,
)
from kosmos.training.optimizer import Optimizer


class Run:
    """A model with an optimizer that has made one step."""

    def __init__(self, recipe: TrainConfig, folder: Path) -> None:
        torch.manual_seed(0)
        self.folder = folder
        self.model = Kosmos(recipe.model, random_vision=True)
        self.processor = Processor(Tokenizer.load(recipe.tokenizer), recipe.model)
        self.optimizer = Optimizer(self.model, OptimizerConfig(warmup_steps=0), 100)
        for parameter in self.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        self.optimizer.step(1)

    def save(self, step: int, keep: int = 2) -> Path:
        state = TrainingState(step, seed=1, precision="fp32", stream={"step": step})
        return save_checkpoint(self.folder, state, self.model, self.processor, self.optimizer, keep)


@pytest.fixture
def run(recipe: TrainConfig, tmp_path: Path) -> Run:
    return Run(recipe, tmp_path / "run")


def test_what_is_saved_comes_back(run: Run) -> None:
    folder = run.save(5)
    assert sorted(p.name for p in folder.iterdir()) == [
        "MANIFEST.sha256",
        "optimizer.safetensors",
        "state.json",
        "weights",
    ]
    assert folder == run.folder / "checkpoints" / "step-5"
    check_manifest(folder)
    assert read_state(folder) == TrainingState(5, 1, "fp32", {"step": 5})
    assert set(json.loads((folder / "state.json").read_text())["versions"]) == {"kosmos", "torch", "python"}
    model = load_model(folder)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), run.model.parameters(), strict=True))
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in run.model.parameters()]
    optimizer = Optimizer(model, OptimizerConfig(warmup_steps=0), 100)
    load_optimizer(folder, optimizer)
    before, after = run.optimizer.state_tensors(), optimizer.state_tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert resolve(run.folder) == folder / "weights"


def test_the_last_n_are_kept_and_leftovers_removed(run: Run) -> None:
    for step in (1, 2, 3):
        (run.folder / "checkpoints" / ".step-9.123").mkdir(parents=True, exist_ok=True)
        run.save(step)
    assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) == ["step-2", "step-3"]


def test_a_damaged_checkpoint_is_stepped_back_over_and_written_anew(run: Run) -> None:
    run.save(1)
    second = run.save(2)
    file = second / "optimizer.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert latest_checkpoint(run.folder) == run.folder / "checkpoints" / "step-1"
    run.save(2)
    assert latest_checkpoint(run.folder) == second


def test_when_all_are_damaged_it_says_so(run: Run) -> None:
    (run.save(1) / "state.json").unlink()
    with pytest.raises(StorageError, match="every checkpoint is damaged"):
        latest_checkpoint(run.folder)
    assert latest_checkpoint(run.folder / "other") is None


@pytest.mark.parametrize("stage", ["save_file", "write_manifest", "sync_tree"])
def test_a_refusing_disk_harms_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    kept = run.save(1)

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, stage, refuse)
    with pytest.raises(StorageError, match=r"step-2: cannot write the checkpoint: No space left on device") as caught:
        run.save(2)
    assert caught.value.exit_code == 5
    assert [p.name for p in (run.folder / "checkpoints").iterdir()] == ["step-1"]
    check_manifest(kept)
    assert [number for number, _ in steps(run.folder)] == [1]
