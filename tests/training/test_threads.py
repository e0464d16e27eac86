"""How many threads a run takes."""

from __future__ import annotations

import os

import pytest
import torch

from kosmos.training.threads import set_threads


@pytest.mark.parametrize(("wanted", "told", "number"), [(3, "2", 3), (0, "2", 2), (0, "", 4), (0, "many", 4)])
def test_asked_then_told_then_the_cores_that_may_be_used(
    wanted: int, told: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    # A container may use four of the machine's 64.
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    assert set_threads(wanted) == number == torch.get_num_threads()


def test_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert set_threads(0) == 5
