"""From a run, a step or an exported folder to the weights; damaged steps are passed over."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from kosmos.errors import StorageError, UsageError
from kosmos.runs import latest_step, resolve, steps
from kosmos.storage import write_manifest


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with the steps 9, 10 and 200, and a save that was cut off."""
    run = tmp_path / "run"
    for step in (9, 10, 200):
        weights = run / "checkpoints" / f"step-{step}" / "weights"
        weights.mkdir(parents=True)
        (weights / "model.safetensors").write_bytes(b"weights %d" % step)
        (weights.parent / "optimizer.safetensors").write_bytes(b"moments")
        write_manifest(weights.parent)
    (run / "checkpoints" / ".step-300.17").mkdir()
    (run / "checkpoints" / "step-best").mkdir()
    return run


def damage(run: Path, step: int, name: str = "weights/model.safetensors") -> None:
    (run / "checkpoints" / f"step-{step}" / name).write_bytes(b"damaged")


def test_every_kind_of_folder_leads_to_the_weights(run: Path) -> None:
    step = run / "checkpoints" / "step-200"
    assert resolve(run) == resolve(str(step)) == resolve(step / "weights") == step / "weights"
    assert resolve(run / "checkpoints" / "step-9") == run / "checkpoints" / "step-9" / "weights"
    exported = run.parent / "exported"
    shutil.copytree(step / "weights", exported)
    assert resolve(exported) == exported


def test_steps_are_in_order_of_their_numbers(run: Path) -> None:
    assert [number for number, _ in steps(run)] == [9, 10, 200]
    assert latest_step(run).name == "step-200" and steps(run / "none") == []


def test_a_damaged_step_is_passed_over(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(run, 200)
    with caplog.at_level(logging.WARNING):
        assert resolve(run) == run / "checkpoints" / "step-10" / "weights"
    assert "step-200/weights/model.safetensors: damaged" in caplog.text
    (run / "checkpoints" / "step-10" / "MANIFEST.sha256").unlink()
    assert resolve(run) == run / "checkpoints" / "step-9" / "weights"
    damage(run, 9)
    with pytest.raises(StorageError, match=r"every checkpoint is damaged; the latest: .*step-200.*damaged"):
        resolve(run)


def test_a_damaged_optimizer_does_not_keep_the_weights_from_being_used(run: Path) -> None:
    damage(run, 200, "optimizer.safetensors")
    assert resolve(run) == run / "checkpoints" / "step-200" / "weights"
    assert latest_step(run).name == "step-10"


def test_a_damaged_folder_that_was_asked_for_is_an_error(run: Path) -> None:
    damage(run, 200)
    for path in (run / "checkpoints" / "step-200", run / "checkpoints" / "step-200" / "weights"):
        with pytest.raises(StorageError, match=r"model\.safetensors: damaged"):
            resolve(path)
    exported = run.parent / "exported"
    shutil.copytree(run / "checkpoints" / "step-10" / "weights", exported)
    write_manifest(exported)
    (exported / "model.safetensors").write_bytes(b"changed")
    with pytest.raises(StorageError, match=r"exported/model\.safetensors: damaged"):
        resolve(exported)


def test_folders_with_nothing_in_them(run: Path) -> None:
    with pytest.raises(UsageError, match="no such run, step or model folder"):
        resolve(run / "none")
    with pytest.raises(UsageError, match="not a run directory, a step or a model folder"):
        resolve(run.parent)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    with pytest.raises(UsageError, match="no checkpoint yet"):
        resolve(run)
