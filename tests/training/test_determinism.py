from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kosmos.config import TrainConfig
from kosmos.runs import steps
from kosmos.training.determinism import _FILLING, deterministic_algorithms
from kosmos.training.loop import train


def switches() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        _FILLING.fill_uninitialized_memory,
    )


def test_it_is_on_inside_and_as_before_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = switches()
    with deterministic_algorithms(False):
        assert switches() == before
    with pytest.raises(KeyError), deterministic_algorithms(True):
        assert switches() == (True, False, False)
        raise KeyError
    assert switches() == before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_cpu_it_moves_no_bit(
    recipe: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    """Every operation of a step has such a kernel, or it would be refused."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seen: list[tuple[bool, bool, bool]] = []
    found = []
    for deterministic in (False, True):
        config = replace(recipe, deterministic=deterministic, precision=precision, steps=5)
        run = train(config, tmp_path / str(deterministic), quiet=True, on_step=lambda _: seen.append(switches()))
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        found.append([(line["loss"], line["grad_norm"]) for line in lines])
        assert steps(run)[-1][0] == 5
        # What training stood still for after step 4 stands in the next line, and in no other.
        assert [number for number, line in enumerate(lines, start=1) if "checkpoint" in line["timing"]] == [5]
        assert lines[4]["timing"]["checkpoint"] > 0
    assert [on for on, _, _ in seen] == [False] * 5 + [True] * 5
    assert found[0] == found[1] and len(found[0]) == 5
