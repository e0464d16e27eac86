from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kosmos.errors import DataError
from kosmos.evaluation.picturebook.loss_curve import read_losses, smooth, write_loss_curve


def write_metrics(path: Path) -> Path:
    rows = [
        {
            "step": step,
            "loss": 3.0,
            "sources": {"text": {"loss": 4.0 - step / 100}, "pairs": {"loss": 2.5 if step == 5 else None}},
        }
        for step in range(1, 51)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 51, "lo')
    return path


def test_losses_are_read_by_source_up_to_a_torn_line(tmp_path: Path) -> None:
    losses = read_losses(write_metrics(tmp_path / "metrics.jsonl"))
    steps, values = losses["text"]
    assert (steps[0], steps[-1], values[-1]) == (1, 50, 3.5)
    assert [part.tolist() for part in losses["pairs"]] == [[5], [2.5]]


def test_a_run_without_sources_has_one_curve(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 3, "loss": 1.5}\n')
    assert [part.tolist() for part in read_losses(path)["loss"]] == [[3], [1.5]]


def test_smoothing_keeps_straight_lines_and_invents_nothing() -> None:
    constant = np.full(9, 2.5)
    assert smooth(constant, 4).tolist() == constant.tolist()
    assert smooth(np.array([5.0, 1.0, 3.0]), 1).tolist() == [5.0, 1.0, 3.0]
    assert smooth(np.array([6.0, 0.0, 3.0, 9.0]), 2).tolist() == [6.0, 3.0, 4.0, 6.0]


def test_the_picture_is_drawn_and_the_same_each_time(tmp_path: Path) -> None:
    metrics = write_metrics(tmp_path / "metrics.jsonl")
    for name in ("a.png", "b.png"):
        write_loss_curve(tmp_path / name, metrics)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = np.asarray(PIL.Image.open(tmp_path / "a.png").convert("RGB"))
    assert picture.shape == (672, 1440, 3)
    assert (picture == np.array([0x2B, 0x6C, 0xB0])).all(-1).sum() > 500


def test_missing_or_empty_metrics_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="metrics.jsonl: cannot read"):
        read_losses(tmp_path / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="no step with a loss"):
        read_losses(tmp_path / "metrics.jsonl")
