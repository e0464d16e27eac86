"""`kosmos doctor` on the environment, a recipe, its data and a run, healthy and not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import Command, one_line, snapshot


def findings(finished: Any, part: str = "", level: str = "") -> list[dict[str, str]]:
    """What was found, of a part and a level."""
    found = json.loads(finished.stdout)["findings"]
    return [f for f in found if part in ("", f["part"]) and level in ("", f["level"])]


@pytest.fixture
def folder(tiny_files: Path, tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny recipe, its data and its finished run."""
    shutil.copytree(tiny_files, tmp_path / "tiny")
    return tmp_path / "tiny"


def test_the_environment(kosmos_here: Command, tmp_path: Path) -> None:
    finished = kosmos_here("doctor", cwd=tmp_path)
    assert finished.returncode == 0
    assert finished.stdout.startswith("environment\n  ok       kosmos ")
    assert "configuration" not in finished.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_healthy_run(kosmos_here: Command, folder: Path) -> None:
    before = snapshot(folder)
    finished = kosmos_here("doctor", "run", "--json", cwd=folder)
    assert finished.returncode == json.loads(finished.stdout)["exit_code"] == 0, finished.stdout
    told = [finding["what"] for finding in findings(finished, level="ok")]
    assert "step-100 is whole, the last step" in told
    assert any(line.startswith("step-100: ") and line.endswith(" tensors fit the model") for line in told)
    assert "the run is finished, after step 100" in told
    assert any(line.startswith("metrics.jsonl: last step 100, loss ") for line in told)
    assert "tokenizer: 41 entries" in told
    data = [finding["what"] for finding in findings(finished, "data")]
    assert len(data) == 2 and "pairs.tar" in data[1] and "(pictures: 1)" in data[1]
    assert snapshot(folder) == before


def test_only_problems_for_people(kosmos_here: Command, folder: Path) -> None:
    (folder / "pairs.tar").unlink()
    finished = kosmos_here("doctor", "recipe.yaml", "--problems", cwd=folder)
    assert finished.returncode == 3
    lines = finished.stdout.splitlines()
    start = lines.index("data")
    assert lines[start + 1].startswith("  problem  pairs: ") and "pairs.tar" in lines[start + 1]
    assert not [line for line in lines if line.startswith("  ok ")]
    assert lines[-1].startswith("1 problem")


def test_a_recipe_with_mistakes(kosmos_here: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("model: {preset: tiny}\nstepz: 3\nseed: one\n")
    finished = kosmos_here("doctor", "bad.yaml", "--json", cwd=tmp_path)
    assert finished.returncode == 2
    told = [finding["what"] for finding in findings(finished, "configuration", "problem")]
    assert len(told) == 2
    assert any("stepz: unknown key (did you mean 'steps'?)" in line for line in told)
    assert not findings(finished, "data")


@pytest.mark.parametrize(
    ("options", "part", "what", "code"),
    [
        (["--tokenizer", "nothing"], "configuration", "nothing", 3),
        (["--model.decoder.vocab_size", "20"], "configuration", "vocab_size 20 is too small", 2),
        (["--model.vision.pretrained", "tower"], "configuration", "vision: tower: no such folder", 3),
        (["--data.sources.text.corpora.0.reader", "wet"], "data", "can only be read from its front", 3),
        (["--data.sources.text.corpora.0.path", "empty.jsonl"], "data", "empty.jsonl: 1 file, 0 bytes: no record", 3),
        (["--data.sources.text.corpora.0.field", "body"], "data", "its first record is bad (no text field)", 3),
        (["--data.root", "$KOSMOS_NOWHERE"], "data", "asks for KOSMOS_NOWHERE", 2),
    ],
)
def test_what_a_recipe_names(
    kosmos_here: Command, folder: Path, options: list[str], part: str, what: str, code: int
) -> None:
    (folder / "empty.jsonl").write_text("")
    finished = kosmos_here("doctor", "recipe.yaml", "--json", *options, cwd=folder)
    assert finished.returncode == code, finished.stdout
    told = findings(finished, part, "problem")
    assert any(what in finding["what"] for finding in told), told
    assert all(finding["do"] for finding in told)


def test_a_large_corpus_without_an_index_is_not_read(
    kosmos_here: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kosmos.doctor import data

    monkeypatch.setattr(data, "_INDEX_HERE", 10)
    monkeypatch.setattr(data, "is_indexed", lambda file, kind: False)
    finished = kosmos_here("doctor", "recipe.yaml", "--json", cwd=folder)
    assert finished.returncode == 0
    (text, pairs) = findings(finished, "data", "warning")
    assert "1 without an index, so no record was read" in text["what"]
    assert text["do"].startswith("kosmos data prepare --reader jsonl corpus.jsonl OUT")
    assert pairs["do"].startswith("kosmos data prepare --reader pairs_tar")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_damaged_step_is_a_warning_while_another_is_whole(kosmos_here: Command, folder: Path) -> None:
    steps = folder / "run" / "checkpoints"
    flip(steps / "step-100" / "weights" / "model.safetensors")
    (steps / ".step-101.saving").mkdir()
    finished = kosmos_here("doctor", "run", "--json", cwd=folder)
    assert finished.returncode == 0
    warnings = findings(finished, "checkpoint", "warning")
    assert [w["what"].split(":")[0] for w in warnings] == [
        ".step-101.saving",
        "run/checkpoints/step-100/weights/model.safetensors",
    ]
    told = [finding["what"] for finding in findings(finished, "checkpoint", "ok")]
    assert "step-75 is whole, of 100 steps" in told
    assert any(line.startswith("step-75: can be resumed (optimizer of ") for line in told)

    flip(steps / "step-75" / "state.json")
    finished = kosmos_here("doctor", "run", "--json", cwd=folder)
    assert finished.returncode == 5
    assert [p["what"] for p in findings(finished, level="problem")] == ["every checkpoint is damaged"]


def test_a_recipe_that_does_not_fit_its_checkpoint(kosmos_here: Command, folder: Path) -> None:
    shutil.rmtree(folder / "run" / "checkpoints" / "step-100")
    rows = ["--data.sources.text.rows_per_step", "6"]
    finished = kosmos_here("doctor", "run", "--json", *rows, cwd=folder)
    assert finished.returncode == 2
    assert findings(finished, "checkpoint", "problem")[0]["what"] == (
        "step-75: source 'text' has 4 rows a step there, 6 in the recipe"
    )


def test_what_the_logs_say(kosmos_here: Command, folder: Path) -> None:
    metrics = folder / "run" / "metrics.jsonl"
    last = json.loads(metrics.read_text().splitlines()[-1])
    last["sources"]["text"]["bad_records"] = {"bad json": 3}
    with metrics.open("a") as file:
        file.write(json.dumps(last) + "\n" + '{"step": 101, "lo')  # cut short by a crash
    with (folder / "run" / "events.jsonl").open("a") as file:
        file.write('{"step": 7, "event": "nonfinite"}\n')
    finished = kosmos_here("doctor", "run", "--json", cwd=folder)
    assert finished.returncode == 0
    warnings = [w["what"] for w in findings(finished, "checkpoint", "warning")]
    assert warnings[0] == "events.jsonl: 1 steps were not finite"
    assert warnings[1].startswith("text: 3 of ") and warnings[1].endswith(" records were bad")


def test_a_disk_without_room_for_the_next_checkpoint(
    kosmos_here: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("U", (), {"free": 1000}))
    finished = kosmos_here("doctor", "run", "--json", cwd=folder)
    assert finished.returncode == 5
    assert findings(finished, "checkpoint", "problem")[0]["do"] == "free some space: the next save would fail"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such run directory or recipe"),
        (["tokenizer"], "tokenizer: not a run directory"),
        (["--steps=3"], "keys of a recipe were given, and no recipe"),
    ],
)
def test_bad_calls(kosmos_here: Command, folder: Path, arguments: list[str], message: str) -> None:
    finished = kosmos_here("doctor", *arguments, cwd=folder)
    assert one_line(finished).startswith(message)
    assert finished.returncode == 2
