from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.api import CheckpointException

import kosmos.training.checkpoint as checkpoint
from kosmos.config import OptimizerConfig, TrainConfig
from kosmos.errors import StorageError
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import resolve, steps
from kosmos.storage import check_manifest
from kosmos.tokenizer import Tokenizer
from kosmos.training.checkpoint import (
    Checkpoints,
    TrainingState,
    latest_checkpoint,
    load_model,
    load_optimizer,
    read_state,
    remove_after,
)
from kosmos.training.optimizer import Optimizer
from kosmos.training.world import World

ALONE = World(0, 1, torch.device("cpu"))


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

    def save(self, step: int, keep: int = 2, keep_every: int = 0) -> Path:
        state = TrainingState(step, seed=1, precision="fp32", stream={"step": step})
        Checkpoints(self.folder, self.processor, ALONE, keep, keep_every).save(state, self.model, self.optimizer)
        return self.folder / "checkpoints" / f"step-{step}"


@pytest.fixture
def run(recipe: TrainConfig, tmp_path: Path) -> Run:
    return Run(recipe, tmp_path / "run")


def test_what_is_saved_comes_back(run: Run) -> None:
    folder = run.save(5)
    assert sorted(p.name for p in folder.iterdir()) == [
        "MANIFEST.sha256",
        "optimizer",
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
    load_optimizer(folder, optimizer, ALONE)
    before, after = run.optimizer.state_tensors(), optimizer.state_tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert resolve(run.folder) == folder / "weights"


def test_the_last_n_are_kept_and_leftovers_removed(run: Run) -> None:
    for step in (1, 2, 3):
        (run.folder / "checkpoints" / ".step-9.123").mkdir(parents=True, exist_ok=True)
        run.save(step)
    assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) == ["step-2", "step-3"]


def test_every_nth_stays(run: Run) -> None:
    for step in range(1, 8):
        run.save(step, keep=1, keep_every=3)
    assert [number for number, _ in steps(run.folder)] == [3, 6, 7]


def test_an_asynchronous_save_holds_what_was_there_when_it_was_asked_for(run: Run) -> None:
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    moments = {name: tensor.clone() for name, tensor in run.optimizer.state_tensors().items()}
    checkpoints = Checkpoints(run.folder, run.processor, ALONE, keep=2, asynchronous=True)
    checkpoints.save(TrainingState(5, 1, "fp32", {}), run.model, run.optimizer)
    for parameter in run.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    run.optimizer.step(2)
    checkpoints.wait()
    folder = run.folder / "checkpoints" / "step-5"
    model = load_model(folder)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    optimizer = Optimizer(model, OptimizerConfig(warmup_steps=0), 100)
    load_optimizer(folder, optimizer, ALONE)
    assert all(torch.equal(tensor, moments[name]) for name, tensor in optimizer.state_tensors().items())


def test_an_asynchronous_save_that_failed_is_told_at_the_next(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save(1)
    checkpoints = Checkpoints(run.folder, run.processor, ALONE, keep=2, asynchronous=True)

    def refuse(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "sync_tree", refuse)
    checkpoints.save(TrainingState(2, 1, "fp32", {}), run.model, run.optimizer)
    with pytest.raises(StorageError, match="No space left on device"):
        checkpoints.save(TrainingState(3, 1, "fp32", {}), run.model, run.optimizer)
    assert [number for number, _ in steps(run.folder)] == [1]


def test_a_damaged_checkpoint_is_stepped_back_over_and_written_anew(run: Run) -> None:
    run.save(1)
    second = run.save(2)
    file = second / "optimizer" / "__0_0.distcp"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert latest_checkpoint(run.folder) == run.folder / "checkpoints" / "step-1"
    run.save(2)
    assert latest_checkpoint(run.folder) == second


def test_what_is_saved_is_not_removed_for_later_steps_that_are_damaged(run: Run) -> None:
    run.save(4, keep=1)
    run.save(8, keep=1)
    (run.folder / "checkpoints" / "step-8" / "state.json").unlink()
    third = run.save(6, keep=1)
    assert latest_checkpoint(run.folder) == third
    assert [number for number, _ in steps(run.folder)] == [6, 8]


def test_later_steps_are_removed_by_name_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2, 3):
        run.save(step, keep=9)
    # A kill as soon as the first file is to be removed.
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *args, **options: None)
        remove_after(run.folder, 1)
    assert [number for number, _ in steps(run.folder)] == [1]
    run.save(4, keep=9)
    assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) == ["step-1", "step-4"]


def test_whatever_fails_behind_the_training_is_told() -> None:
    def work() -> None:  # an error of torch's that is no Exception
        raise CheckpointException("write", {1: (OSError(28, "No space left on device"), None)})  # type: ignore[dict-item]

    assert "No space left on device" in checkpoint._Save(work).result()


def test_a_run_that_breaks_off_lets_its_save_end(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(run.folder, run.processor, ALONE, keep=2, asynchronous=True)
    checkpoints.save(TrainingState(5, 1, "fp32", {}), run.model, run.optimizer)
    checkpoints.close()
    assert latest_checkpoint(run.folder) == run.folder / "checkpoints" / "step-5"
    assert not [thread for thread in threading.enumerate() if thread.name == "checkpoint"]

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "sync_tree", refuse)
    checkpoints.save(TrainingState(6, 1, "fp32", {}), run.model, run.optimizer)
    checkpoints.close()
    assert "step-6: cannot write the checkpoint: No space left on device" in caplog.text
    checkpoints.close()


def test_when_all_are_damaged_it_says_so(run: Run) -> None:
    (run.save(1) / "state.json").unlink()
    with pytest.raises(StorageError, match="every checkpoint is damaged"):
        latest_checkpoint(run.folder)
    assert latest_checkpoint(run.folder / "other") is None


@pytest.mark.parametrize("stage", ["dcp_save", "write_manifest", "sync_tree"])
def test_a_refusing_disk_harms_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    kept = run.save(1)

    def refuse(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, stage, refuse)
    with pytest.raises(StorageError, match=r"step-2: cannot write the checkpoint: No space left on device") as caught:
        run.save(2)
    assert caught.value.exit_code == 5
    assert [p.name for p in (run.folder / "checkpoints").iterdir()] == ["step-1"]
    check_manifest(kept)
    assert [number for number, _ in steps(run.folder)] == [1]
