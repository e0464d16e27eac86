"""Trackers: what is sent, where it goes, and that none of them can stop a run."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kosmos.config import TrainConfig
from kosmos.config import replace as change
from kosmos.errors import ConfigError
from kosmos.training import trackers as module
from kosmos.training.loop import train
from kosmos.training.trackers import Trackers, check_trackers, flat_figures

RECORD = {
    "step": 7,
    "lr": 1e-3,
    "loss": 2.5,
    "grad_norm": None,
    "sources": {"text": {"loss": 2.0, "tokens": 30, "bad_records": {"bad json": 2, "empty text": 1}, "events": {}}},
    "validation": {"text": {"loss": 2.25, "supervised_tokens": 9}, "pairs": {"loss": None, "supervised_tokens": 0}},
    "timing": {"mfu": 0.4},
}


def test_a_line_as_figures() -> None:
    assert flat_figures(RECORD) == {
        "loss": 2.5,
        "lr": 1e-3,
        "loss/text": 2.0,
        "tokens/text": 30,
        "bad_records/text": 3,
        "events/text": 0,
        "validation/text": 2.25,
        "timing/mfu": 0.4,
    }


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    check_trackers(TrainConfig())
    with pytest.raises(ConfigError, match=r"trackers: wandb is not installed: pip install 'kosmos\[track\]'"):
        check_trackers(TrainConfig(trackers=("wandb",)))


class Refusing:
    """A tracker whose disk is full after its first step."""

    def __init__(self, run: Path, first: int, config: TrainConfig) -> None:
        self.taken: list[int] = []

    def log(self, step: int, figures: Any) -> None:
        if step > 1:
            raise OSError("no space left")
        self.taken.append(step)

    def close(self) -> None:
        raise ConnectionError


def test_a_tracker_that_fails_is_warned_of_once_and_counted(
    recipe: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(module._KINDS, "wandb", ("json", Refusing))
    with caplog.at_level(logging.WARNING, module.__name__):
        run = train(change(recipe, steps=4, trackers=("wandb",)), tmp_path / "run", quiet=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["timing"].get("tracker_failures") for line in lines] == [None, None, 1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "trackers: wandb did not take a step; metrics.jsonl has all of them: no space left"
    ]


def test_one_that_cannot_be_opened_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(run: Path, first: int, config: TrainConfig) -> Any:
        raise RuntimeError("not logged in")

    monkeypatch.setitem(module._KINDS, "wandb", ("json", refuse))
    with Trackers(TrainConfig(trackers=("wandb",)), tmp_path, 0, writes=True) as trackers:
        trackers.log(RECORD)
    assert trackers.failures == {"wandb": 1}
    assert "cannot be opened, the run goes on without it: not logged in" in caplog.text


def test_only_the_first_rank_tracks(tmp_path: Path) -> None:
    with Trackers(TrainConfig(trackers=("tensorboard",)), tmp_path, 0, writes=False) as trackers:
        trackers.log(RECORD)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_reads_what_was_logged_and_a_resume_hides_what_is_done_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    accumulator: Any = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")

    config = TrainConfig(trackers=("tensorboard",))
    for first, losses in ((0, [4.0, 3.0, 2.0]), (1, [3.5])):
        with Trackers(config, tmp_path, first, writes=True) as trackers:
            for number, loss in enumerate(losses, start=first + 1):
                trackers.log({"step": number, "loss": loss})
        assert trackers.failures == {}
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 4.0), (2, 3.5)]


_OFFLINE = """
import sys
from pathlib import Path
from kosmos.config import TrainConfig
from kosmos.training.trackers import Trackers

with Trackers(TrainConfig(trackers=("wandb",)), Path(sys.argv[1]), 0, writes=True) as trackers:
    trackers.log({"step": 1, "loss": 4.5})
print(trackers.failures)
"""


def test_weights_and_biases_offline(tmp_path: Path) -> None:
    """A process of its own: wandb starts a service that outlives a run."""
    pytest.importorskip("wandb")
    import os

    finished = subprocess.run(
        [sys.executable, "-c", _OFFLINE, str(tmp_path)],
        env={
            **os.environ,
            "WANDB_MODE": "offline",
            "WANDB_ERROR_REPORTING": "false",
            "HOME": str(tmp_path / "home"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.stdout.splitlines()[-1:] == ["{}"], finished.stderr[-2000:]
    (written,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"4.5" in written.read_bytes()
