"""The same stages on this machine, on Slurm and on Ray."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

pytest.importorskip("datatrove")

from kosmos.data.web.executors import ExecutorSettings, build_executors, run_stages
from kosmos.data.web.pipeline import page_stages
from kosmos.data.web.settings import PagesSettings
from kosmos.errors import ConfigError, UsageError

INPUTS = {"root": "", "files": ["a.warc.gz", "b.warc.gz", "c.warc.gz"], "tasks": 3}


@pytest.mark.parametrize("kind", ["local", "slurm", "ray"])
def test_one_executor_a_stage_in_a_chain(kind: str, tmp_path: Path) -> None:
    dill = pytest.importorskip("dill")
    stages = page_stages(INPUTS, tmp_path, PagesSettings(against=("x.json",)))
    settings = ExecutorSettings(kind, workers=2, partition="cpu")
    executors = build_executors(stages, tmp_path / "work", settings)
    assert [executor.world_size for executor in executors] == [3, 14, 1, 3, 1]
    assert [[step.name for step in executor.pipeline] for executor in executors] == [
        ["read", "language", "main text and pictures", "text rules", "signatures", "keep for the next stage"],
        ["pairs"],
        ["groups"],
        ["read again", "near-duplicates", "evaluation data", "bring pictures", "picture rules", "write"],
        ["report"],
    ]
    if kind != "local":
        assert [executor.depends for executor in executors] == [None, *executors[:-1]]
    # Slurm's and Ray's jobs get the steps pickled.
    for executor in executors:
        copies = dill.loads(dill.dumps(executor.pipeline))
        assert [copy.name for copy in copies] == [step.name for step in executor.pipeline]


def test_settings_travel(tmp_path: Path) -> None:
    settings = PagesSettings(seed=3)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_wrong_settings_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'slrm' is none of"):
        ExecutorSettings("slrm")
    with pytest.raises(ConfigError, match="name the partition"):
        ExecutorSettings("slurm")
    with pytest.raises(ConfigError, match="workers"):
        ExecutorSettings(workers=0)
    monkeypatch.setenv("PATH", str(tmp_path))
    stages = page_stages(INPUTS, tmp_path, PagesSettings())[:1]
    with pytest.raises(UsageError, match="executor slurm: cannot be started"):
        run_stages(stages, tmp_path / "work", ExecutorSettings("slurm", partition="cpu"))
