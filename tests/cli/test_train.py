"""`kosmos train` as a real process: bad recipes, full disks, Ctrl-C, resuming; nothing is ever written over."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import Command, environment, one_line, snapshot


def curve(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what a clock measured."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        del record["timing"]
    return records


def last_weights(run: Path) -> bytes:
    return (run / "checkpoints" / "step-100" / "weights" / "model.safetensors").read_bytes()


def test_a_run_learns_and_leaves_its_directory(tiny_run: Path) -> None:
    records = curve(tiny_run)
    assert [record["step"] for record in records] == list(range(1, 101))
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    assert records[-1]["lr"] == 0
    assert sorted(folder.name for folder in (tiny_run / "checkpoints").iterdir()) == ["step-100", "step-75"]
    # Whoever may read one file of a checkpoint may read them all.
    modes = {file.stat().st_mode & 0o777 for file in (tiny_run / "checkpoints").rglob("*") if file.is_file()}
    assert modes == {(tiny_run / "config.yaml").stat().st_mode & 0o777}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing.yaml"], 2, "nothing.yaml: no such file"),
        (["recipe.yaml"], 2, "the run needs a folder: --out DIR"),
        (["recipe.yaml", "--out", "new", "--optimizer.lrr", "1"], 2, "(did you mean 'optimizer.lr'?)"),
        (["recipe.yaml", "--out", "new", "--optimizer.lr", "fast"], 2, "optimizer.lr: must be a number"),
        (["recipe.yaml", "--out", "new", "--steps", "1.5"], 2, "steps: must be a whole number"),
        (
            ["recipe.yaml", "--out", "new", "--tokenizer", "nothing.model"],
            3,
            "nothing.model: cannot read the tokenizer",
        ),
        (["recipe.yaml", "--out", "new", "--data.sources.text.corpora.0.path", "no.jsonl"], 3, "no.jsonl"),
        (
            ["recipe.yaml", "--out", "new", "--no-random-vision", "--model.vision.trainable", "none"],
            2,
            "random and frozen",
        ),
        (["recipe.yaml", "--out", "new", "lr"], 2, "unexpected argument: lr"),
        (
            ["recipe.yaml", "--out", "new", "--steps", "3"],
            2,
            "command line: optimizer.warmup_steps: 5 is not below steps 3; lower it, or raise steps",
        ),
        (
            ["recipe.yaml", "--out", "new", "--model.preset", "tinny"],
            2,
            "command line: model: preset: no preset 'tinny'",
        ),
        (["recipe.yaml", "--out", "new", "--model.preset", "my.yaml"], 2, "my.yaml: cannot read the configuration"),
        (
            ["recipe.yaml", "--out", "new", "--model.decoder.vocab_size", "40"],
            2,
            "model.decoder.vocab_size 40 is below the tokenizer's 41; set it to 41",
        ),
        (["recipe.yaml", "--out", "new", "--import", "nowhere"], 2, "--import nowhere: no module of that name here"),
    ],
)
def test_bad_calls(kosmos_here: Command, tiny_files: Path, arguments: list[str], code: int, message: str) -> None:
    finished = kosmos_here("train", *arguments, cwd=tiny_files)
    assert message in one_line(finished)
    assert finished.returncode == code
    assert not (tiny_files / "new").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {preset: tiny}\nstepz: 3\n", "stepz: unknown key (did you mean 'steps'?)"),
        ("model: {preset: tiny}\nsteps: many\n", "steps: must be a whole number"),
        ("model: {preset: tiny\n", "not valid YAML"),
        ("- 1\n", "must hold a mapping"),
        ("# nothing yet\n", "bad.yaml: the file is empty; `kosmos recipes show NAME` shows what a recipe looks like"),
        ("model: {preset: tinny}\n", "no preset 'tinny' (did you mean 'tiny'?)"),
    ],
)
def test_bad_recipes(kosmos_here: Command, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    finished = kosmos_here("train", "bad.yaml", "--out", "new", cwd=tmp_path)
    assert message in one_line(finished)
    assert finished.returncode == 2
    assert not (tmp_path / "new").exists()


def test_every_mistake_is_a_line(kosmos_here: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("model: {preset: tiny}\nsteps: many\nseed: yes\nlunch: soup\n")
    finished = kosmos_here("train", "bad.yaml", "--out", "new", cwd=tmp_path)
    lines = finished.stderr.splitlines()
    assert finished.returncode == 2 and len(lines) == 3
    assert all(line.startswith("kosmos: error: bad.yaml: ") for line in lines)
    # Nothing that is known is near to that.
    assert "kosmos: error: bad.yaml: lunch: unknown key" in lines


def test_a_copied_preset_is_a_model_of_a_recipe(kosmos_here: Command, tiny_files: Path, tmp_path: Path) -> None:
    finished = kosmos_here("presets", "copy", "tiny", "my-model.yaml", cwd=tmp_path)
    assert finished.stdout == "wrote my-model.yaml\na recipe takes it as `model: {preset: my-model.yaml}`\n"
    recipe = (tiny_files / "recipe.yaml").read_text()
    (tmp_path / "recipe.yaml").write_text(recipe.replace("preset: tiny", "preset: my-model.yaml"))
    told = kosmos_here("train", "recipe.yaml", "--keys", cwd=tmp_path)
    plain = kosmos_here("train", "recipe.yaml", "--keys", cwd=tiny_files)
    assert (told.returncode, told.stdout) == (0, plain.stdout)


def test_a_module_of_ones_own_is_imported_first(
    kosmos_here: Command, tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))  # put back afterwards
    (tmp_path / "my_readers.py").write_text(
        "from kosmos.data.readers import open_reader, register_reader\n"
        "from kosmos.config import CorpusConfig\n"
        "register_reader('mine', lambda entry, seed: open_reader(CorpusConfig('jsonl', entry.path), seed))\n"
    )
    recipe = tiny_files / "recipe.yaml"
    options = ("--data.sources.text.corpora.0.reader", "mine", "--steps", "2", "--optimizer.warmup_steps", "1")
    monkeypatch.chdir(tmp_path)
    for name in ("corpus.jsonl", "pairs.tar", "tokenizer"):
        (tmp_path / name).symlink_to(tiny_files / name)
    finished = kosmos_here("train", recipe, "--out", "run", *options, cwd=tmp_path)
    assert "mine" in one_line(finished) and finished.returncode == 2
    finished = kosmos_here("train", recipe, "--out", "run", *options, "--import", "my_readers.py", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr


def test_an_existing_run_is_left_as_it_is(kosmos_here: Command, tiny_run: Path) -> None:
    before = snapshot(tiny_run)
    finished = kosmos_here("train", "recipe.yaml", "--out", "run", cwd=tiny_run.parent)
    assert "exists already" in one_line(finished)
    assert finished.returncode == 2
    assert snapshot(tiny_run) == before


def test_resuming_with_another_recipe_is_refused(kosmos_here: Command, tiny_run: Path) -> None:
    before = snapshot(tiny_run)
    finished = kosmos_here(
        "train", "recipe.yaml", "--out", "run", "--resume", "--optimizer.lr", "1", cwd=tiny_run.parent
    )
    assert "optimizer.lr" in one_line(finished)
    assert finished.returncode == 2
    assert snapshot(tiny_run) == before


def test_resuming_what_is_not_there_is_refused(
    kosmos_here: Command, tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    run, notes = tmp_path / "rum", tmp_path / "notes"
    finished = kosmos_here("train", "recipe.yaml", "--out", run, "--resume", cwd=tiny_files)
    assert one_line(finished) == f"{run}: no such run to resume; look at the name, or leave out --resume to begin a run"
    assert finished.returncode == 2 and not run.exists()
    notes.mkdir()
    (notes / "thesis.txt").write_text("mine")
    finished = kosmos_here("train", "recipe.yaml", "--out", notes, "--resume", cwd=tiny_files)
    assert one_line(finished).startswith(f"{notes}: holds no run to resume; ") and finished.returncode == 2
    assert snapshot(notes) == {"thesis.txt": b"mine"}


def test_what_a_resumed_run_says(
    kosmos_here: Command, tiny_files: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = kosmos_here("train", "recipe.yaml", "--out", tiny_run, "--resume", cwd=tiny_files)
    assert finished.returncode == 0
    assert finished.stderr == f"{tiny_run}: finished already, after step 100; nothing is left to do\n"

    run, short = tmp_path / "run", ("--steps", "3", "--optimizer.warmup_steps", "1", "--log_every", "100")
    run.mkdir()
    # A run that was killed before its first checkpoint; the recipe's paths are absolute in it.
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    finished = kosmos_here("train", "recipe.yaml", "--out", run, "--resume", *short, cwd=tiny_files)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f'{run}: trained 3 steps; next: kosmos generate {run} -i PICTURE.png "An image of"\n'
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    shutil.rmtree(run / "checkpoints")
    finished = kosmos_here("train", run / "config.yaml", "--out", run, "--resume", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.splitlines()[0] == f"{run}: has no checkpoint yet, so it begins again"
    recipe = (run / "config.yaml").read_text()
    assert f"tokenizer: {tiny_files / 'tokenizer'}\n" in recipe and f"path: {tiny_files / 'pairs.tar'}\n" in recipe


def test_a_path_that_is_not_there_is_shown_whole(kosmos_here: Command, tiny_files: Path) -> None:
    finished = kosmos_here("train", "recipe.yaml", "--out", "new", "--tokenizer", "no/such.model", cwd=tiny_files)
    assert one_line(finished).startswith(f"{tiny_files / 'no' / 'such.model'}: cannot read the tokenizer")


def test_keys_explains_the_recipe(kosmos_here: Command, tiny_files: Path) -> None:
    finished = kosmos_here("train", "recipe.yaml", "--keys", cwd=tiny_files)
    assert finished.returncode == 0
    assert "--optimizer.lr FLOAT" in finished.stdout
    assert "(default: 0.003)" in finished.stdout


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    kosmos: Command, tiny_files: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """The limit lets the first lines through and refuses the weights, as a full disk does in the middle of a save."""
    run = tmp_path / "run"

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    command = ["train", "recipe.yaml", "--out", run]
    finished = kosmos(*command, "--quiet", cwd=tiny_files, preexec_fn=limit_file_size)
    assert "File too large" in one_line(finished)
    assert finished.returncode == 5
    assert list((run / "checkpoints").iterdir()) == []  # nothing half-written
    assert f"{run / 'checkpoints' / 'step-25'}" in finished.stderr and ".saving" not in finished.stderr
    assert "there is no checkpoint yet" in finished.stderr and "earlier" not in finished.stderr
    finished = kosmos(*command, "--quiet", "--resume", cwd=tiny_files)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert last_weights(run) == last_weights(tiny_run)


def test_ctrl_c_saves_and_resuming_ends_as_if_never_stopped(
    kosmos: Command, tiny_files: Path, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "kosmos", "train", "recipe.yaml", "--out", str(run)]
    process = subprocess.Popen(
        command, cwd=tiny_files, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not ((run / "metrics.jsonl").exists() and len(curve_lines(run)) >= 3):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4, said
    last = said.splitlines()[-1]
    assert last.startswith(f"kosmos: error: {run}: saved after step ")
    assert last.endswith(f" of 100 and stopped; go on: kosmos train {run / 'config.yaml'} --out {run} --resume")
    stopped = len(curve_lines(run))
    assert 3 <= stopped < 100
    assert [folder.name for folder in (run / "checkpoints").iterdir()] == [f"step-{stopped}"]

    finished = kosmos("train", "recipe.yaml", "--out", run, "--resume", "--quiet", cwd=tiny_files)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert curve(run) == curve(tiny_run)
    assert last_weights(run) == last_weights(tiny_run)


def curve_lines(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()
