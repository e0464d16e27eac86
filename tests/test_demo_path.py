"""The demo's real path with the smallest budgets: what `make short` runs, with what must be true of it afterwards."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from kosmos import demo
from kosmos.config import DemoConfig, PictureCorpusConfig, TrainConfig, replace
from kosmos.data.picturebook.packages import PACKAGES, cache_directory
from kosmos.demo import load_recipe, run_demo
from kosmos.errors import Interrupted
from kosmos.evaluation.picturebook.tasks import picturebook_tasks
from kosmos.storage import check_manifest
from kosmos.training.loop import train
from tests.cli.process import snapshot

STEPS, ITEMS = 4, 4


def reduced() -> DemoConfig:
    corpora = (PictureCorpusConfig("drawings", 0.8), PictureCorpusConfig("equations", 0.2, pictures=20))
    tiny = {"vision.steps": 2, "vision.warmup_steps": 1, "vision.batch_size": 16, "vision.corpora": corpora}
    training = {"train.steps": STEPS, "train.checkpoint_every": 3, "train.optimizer.warmup_steps": 1}
    config: DemoConfig = load_recipe("short")
    return replace(config, items=ITEMS, **tiny, **training)


def test_interrupted_resumed_evaluated_and_printed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [package.spec for package in PACKAGES if not (cache_directory() / "packages" / package.filename).exists()]
    if missing:
        pytest.skip(f"the picture book is not in the cache ({missing[0]} is missing); `kosmos demo` fetches it")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config, out = reduced(), tmp_path / "demo"
    monkeypatch.setattr(demo, "load_recipe", lambda name: config)
    # The cheap baselines read thousands of training examples; a few will do here.
    tasks = [dataclasses.replace(task, num_train_examples=20) for task in picturebook_tasks(48)]
    monkeypatch.setattr(demo, "picturebook_tasks", lambda size: tasks)
    steps: list[int] = []

    def interrupted(recipe: TrainConfig, folder: Path, *, resume: bool) -> Path:
        def note(record: dict[str, Any]) -> None:
            steps.append(record["step"])
            if steps == [1, 2]:
                os.kill(os.getpid(), signal.SIGINT)

        return train(recipe, folder, resume=resume, on_step=note)

    monkeypatch.setattr(demo, "train", interrupted)
    with pytest.raises(Interrupted, match="saved after step 2 of 4"):
        run_demo(out, recipe="short")
    assert not (out / "report.json").exists()
    check_manifest(out / "vision")
    tower = snapshot(out / "vision")

    run_demo(out, recipe="short")
    assert steps == [1, 2, 3, 4] and snapshot(out / "vision") == tower
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4] and lines[-1]["lr"] == 0
    for line in lines:
        assert set(line["sources"]) == {"text", "pairs", "interleaved"}
        assert all(source["supervised_tokens"] > 0 and source["loss"] > 0 for source in line["sources"].values()), line

    report = json.loads((out / "report.json").read_text())
    names = [task.name for task in tasks]
    assert [row["name"] for row in report["abilities"]] == names and len(names) > 10
    assert all(row["n"] == ITEMS and 0 <= row["score"] <= 1 for row in report["abilities"])
    assert report["run"]["steps"] == STEPS and report["run"]["extra"]["vision_pretraining_steps"] == 2
    timing = json.loads((out / "timing.json").read_text())
    assert list(timing) == ["data", "preparation", "pretraining", "training", "evaluation", "total"]
    assert all(seconds > 0 for seconds in timing.values()) and timing["total"] > timing["training"]
    assert {"report.md", "contact_sheet.png", "loss_curve.png"} <= {path.name for path in out.iterdir()}

    monkeypatch.setattr(demo, "_run_stages", lambda *_: pytest.fail("a finished demo must not run again"))
    said, before = capsys.readouterr().out, snapshot(out)
    run_demo(out, recipe="short")
    assert capsys.readouterr().out == said and len(said.splitlines()) > len(names)
    assert snapshot(out) == before
