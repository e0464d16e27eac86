"""The demo without its minutes: its recipes, what --fresh may remove, and which stages run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kosmos import demo
from kosmos.config import DemoConfig, TrainConfig, VisionPretrainingConfig
from kosmos.config_checks import check_config
from kosmos.config_files import dump_yaml, read_yaml, save_config
from kosmos.data.picturebook.worlds import WORLDS
from kosmos.demo import load_recipe, run_demo
from kosmos.errors import Interrupted, StorageError, UsageError
from kosmos.presets import load_preset
from kosmos.storage import write_manifest
from tests.cli.process import snapshot

REPORT = {
    "schema_version": 1,
    "kind": "kosmos-report",
    "abilities": [],
    "warnings": [],
    "run": {"parameters": {"total": 1234}, "steps": 56, "precision": "fp32", "seed": 7},
}


def rows(config: DemoConfig) -> int:
    """Rows that training reads."""
    return config.train.steps * sum(source.rows_per_step for source in config.train.data.sources.values())


@pytest.mark.parametrize("name", ["default", "short", "long"])
def test_a_recipe_fits_together(name: str) -> None:
    config = load_recipe(name)
    check_config(config)
    model, pretraining = config.train.model, config.vision
    # What is pretrained is what the model takes over, but for what of it then learns on.
    assert model == load_preset("picturebook")
    assert model.vision is not None and replace(model.vision, trainable="all") == pretraining.vision
    assert model.resampler == replace(pretraining.resampler, attention_dropout=model.resampler.attention_dropout)
    assert model.decoder.hidden_size == pretraining.hidden_size
    assert model.decoder.vocab_size == config.pieces + 7
    for corpus in pretraining.corpora:
        assert corpus.name == "drawings" or (corpus.name in WORLDS and corpus.pictures > 0)
    sources = config.train.data.sources
    assert set(sources) == {"text", "pairs", "interleaved"}
    readers = [corpus.reader for source in sources.values() for corpus in source.corpora]
    assert readers and all(reader.removeprefix("picturebook.") in WORLDS for reader in readers)


def test_how_the_recipes_differ() -> None:
    default, short, long = (load_recipe(name) for name in ("default", "short", "long"))
    assert default.train.model == short.train.model == long.train.model
    assert default.vision.vision == short.vision.vision == long.vision.vision
    assert default.pieces == short.pieces == long.pieces
    assert 10 * rows(short) < rows(default) < rows(long)
    assert 10 * short.vision.steps < default.vision.steps <= long.vision.steps
    assert short.items > 0 and default.items == long.items == 0
    with pytest.raises(UsageError, match="picturebook-other"):
        load_recipe("other")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "demo"


def fill(folder: Path, *names: str) -> None:
    """Files, and folders (with a slash at the end) with a file in each."""
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            path = path / "inside"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["thesis.txt"], "demo: not a run directory of the demo; choose another one with --out"),
        # A run of `kosmos train`, and a project that uses the same names.
        (["config.yaml", "metrics.jsonl", "checkpoints/"], "demo: not a run directory of the demo"),
        (["config.yaml", "vision/", "evaluation/", "report.json"], "demo: not a run directory of the demo"),
        # The folder in which somebody follows docs/training.md.
        (["recipe.yaml", "tokenizer/"], "demo: not a run directory of the demo"),
        (
            ["demo_recipe.yaml", "vision/", "thesis.txt"],
            "thesis.txt: not made by the demo, so --fresh does not remove it",
        ),
        (["demo_recipe.yaml", "report.json", ".git/"], r"\.git: not made by the demo"),
    ],
)
def test_fresh_removes_nothing_that_is_not_the_demos(
    out: Path, names: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_run_stages", never)
    fill(out, *names)
    before = snapshot(out)
    with pytest.raises(UsageError, match=message):
        run_demo(out, fresh=True)
    assert snapshot(out) == before and len(before) == len(names)


def never(*_: object, **__: object) -> None:
    raise AssertionError("this stage must not run")


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["demo_recipe.yaml"],
        [".demo_recipe.yaml.x1"],
        ["demo_recipe.yaml", ".tokenizer.partial/", "evaluation/", "evaluation-partial/", "demo_timing.json"],
        [
            "demo_recipe.yaml",
            "tokenizer/",
            "vision/",
            "checkpoints/",
            "config.yaml",
            "metrics.jsonl",
            "bad_records.log",
            ".report.md.x1",
        ],
    ],
)
def test_fresh_removes_a_demo(out: Path, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out.mkdir(parents=True)
    fill(out, *names)
    fill(out.parent, "other.txt")
    run: list[Path] = []

    def stages(folder: Path, name: str, config: DemoConfig) -> None:
        # What was half-written before a demo knew itself stays until it is written over.
        assert name == "default" and (names == [".demo_recipe.yaml.x1"] or names == [] or not folder.exists())
        run.append(folder)
        fill(folder, "tokenizer/")
        (folder / "report.json").write_text(json.dumps(REPORT))

    monkeypatch.setattr(demo, "_run_stages", stages)
    run_demo(out, fresh=True)
    assert run == [out]
    assert sorted(path.name for path in out.parent.iterdir()) == ["demo", "other.txt"]
    run_demo(out.parent / "new", fresh=True)
    assert run == [out, out.parent / "new"]


def test_a_foreign_folder_is_not_written_into(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_run_stages", never)
    fill(out, "thesis.txt")
    with pytest.raises(UsageError, match="not a run directory of the demo"):
        run_demo(out)
    with pytest.raises(UsageError, match=r"thesis\.txt: not a run directory of the demo"):
        run_demo(out / "thesis.txt")
    assert snapshot(out) == {"thesis.txt": b"thesis.txt"}


def record(folder: Path, name: str) -> None:
    """What the demo of a recipe writes first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demo_recipe.yaml").write_bytes(dump_yaml(demo._recipe_record(name, load_recipe(name))))


def test_a_finished_demo_is_printed_and_nothing_else(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_run_stages", never)
    fill(out, "tokenizer/", "vision/", "report.md", "timing.json", "thesis.txt")
    record(out, "default")
    (out / "report.json").write_text(json.dumps(REPORT))
    before = snapshot(out)
    run_demo(out)
    assert "1,234 parameters, 56 steps, fp32, seed 7" in capsys.readouterr().out
    assert snapshot(out) == before


@pytest.mark.parametrize("finished", [True, False])
def test_a_demo_of_another_recipe_is_neither_printed_nor_gone_on_with(
    out: Path, finished: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_run_stages", never)
    record(out, "short")
    if finished:
        (out / "report.json").write_text(json.dumps(REPORT))
    before = snapshot(out)
    with pytest.raises(UsageError, match=r"recipe 'short', not 'default'; go on with it \(--short\), choose another"):
        run_demo(out)
    (out / "demo_recipe.yaml").write_text("recipe: mine\n")
    with pytest.raises(UsageError, match=r"demo_recipe\.yaml: names no recipe of the demo"):
        run_demo(out)
    assert capsys.readouterr().out == "" and snapshot(out).keys() == before.keys()


def changed_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    short = load_recipe("short")
    monkeypatch.setattr(demo, "load_recipe", lambda name: replace(short, items=short.items + 1))


def test_an_unfinished_demo_of_a_recipe_that_changed_is_not_gone_on_with(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_run_stages", never)
    record(out, "short")
    changed_recipe(monkeypatch)
    with pytest.raises(UsageError, match=r"the recipe 'short' has changed since this demo began \(items\); .* --fresh"):
        run_demo(out, recipe="short")
    # A record of an earlier version: its hash says that something changed, and no more.
    (out / "demo_recipe.yaml").write_text("recipe: short\nsha256: " + 64 * "0" + "\n")
    with pytest.raises(UsageError, match=r"has changed since this demo began \(its record is too old to say where\)"):
        run_demo(out, recipe="short")
    (out / "demo_recipe.yaml").write_text("recipe: short\nconfig: {gone: 1}\n")
    with pytest.raises(UsageError, match=r"has changed since this demo began \(it has other keys\)"):
        run_demo(out, recipe="short")


def test_a_finished_demo_of_a_recipe_that_changed_is_printed_with_a_note(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_run_stages", never)
    record(out, "short")
    (out / "report.json").write_text(json.dumps(REPORT))
    changed_recipe(monkeypatch)
    run_demo(out, recipe="short")
    said = capsys.readouterr()
    assert "1,234 parameters, 56 steps" in said.out
    assert said.err == "note: the recipe 'short' has changed since this demo was made (items); --fresh makes it anew\n"


def test_a_key_that_the_record_does_not_know_had_its_default(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An update that only adds keys of the configuration changes no demo that has begun."""
    went_on: list[Path] = []

    def stages(folder: Path, *_: object) -> None:
        went_on.append(folder)
        (folder / "report.json").write_text(json.dumps(REPORT))

    monkeypatch.setattr(demo, "_run_stages", stages)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    record(out, "default")
    found = read_yaml(out / "demo_recipe.yaml")
    assert found["config"].pop("items") == 0 and found["config"]["train"].pop("keep_every") == 0
    (out / "demo_recipe.yaml").write_bytes(dump_yaml(found))
    run_demo(out)
    assert went_on == [out] and capsys.readouterr().err == ""


@pytest.mark.parametrize(("load", "threads", "said"), [(1.2, "", True), (1.2, "1", False), (0.9, "", False)])
def test_busy_cores_are_told_of(
    out: Path,
    load: float,
    threads: str,
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stages(folder: Path, *_: object) -> None:
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(REPORT))

    monkeypatch.setattr(demo, "_run_stages", stages)
    monkeypatch.setattr(demo, "usable_cores", lambda: 2)
    monkeypatch.setattr("kosmos.training.threads.usable_cores", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    run_demo(out)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == said
    if said:
        assert "load 1.2 on 2 cores" in lines[0] and lines[0].endswith("OMP_NUM_THREADS=1 make demo")


@pytest.mark.parametrize("stop", [Interrupted("it: stopped after step 3"), KeyboardInterrupt()])
def test_an_interrupted_demo_says_how_to_go_on(out: Path, stop: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def stages(*_: object) -> None:
        raise stop

    monkeypatch.setattr(demo, "_run_stages", stages)
    begin = "it: stopped after step 3" if str(stop) else f"{out}: interrupted"
    with pytest.raises(
        Interrupted, match=r"what is done is kept: run `make demo` \(or the same `kosmos demo`\)"
    ) as found:
        run_demo(out)
    assert str(found.value).startswith(f"{begin}; ")


def test_a_short_demo_names_the_whole_one_first() -> None:
    assert demo._presentation("short").next_steps[0][0] == "make demo"
    assert demo._presentation("default").next_steps == demo.NEXT_STEPS


def test_every_recipe_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    used: list[str] = []

    def stages(folder: Path, name: str, config: DemoConfig) -> None:
        assert config == load_recipe(name)
        used.append(folder.as_posix())
        record(folder, name)
        (folder / "report.json").write_text(json.dumps(REPORT))

    monkeypatch.setattr(demo, "_run_stages", stages)
    for name in ("default", "short", "long", "short"):
        run_demo(recipe=name)
    assert used == ["runs/demo", "runs/demo-short", "runs/demo-long"]


class Stages:
    """Stands in for what takes minutes, and notes what is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called: list[str] = []
        self.interrupt = ""
        self.recipe = TrainConfig()
        self.limit: int | None = None
        for name in ("load_picturebook", "build_heldout", "picturebook_tasks", "fit_baselines", "open_picture_corpus"):
            monkeypatch.setattr(demo, name, self.noting(name))
        monkeypatch.setattr(demo, "_train_tokenizer", self.noting("tokenizer", lambda folder, *_: folder.mkdir()))
        monkeypatch.setattr(demo, "pretrain_vision", self.noting("pretrain_vision", self.pretrain))
        monkeypatch.setattr(demo, "train", self.noting("train", self.train))
        monkeypatch.setattr(demo, "evaluate_run", self.noting("evaluate_run", self.evaluate))

    def noting(self, name: str, action: Callable[..., Any] = lambda *_, **__: None) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.called.append(name)
            if name == self.interrupt:
                raise Interrupted(name)
            return action(*arguments, **options)

        return call

    def pretrain(self, config: VisionPretrainingConfig, corpora: list[object], out: Path) -> None:
        assert len(corpora) == len(config.corpora) and Path(config.tokenizer).is_dir()
        out.mkdir()
        save_config(config, out / "config.yaml")
        write_manifest(out)

    def train(self, recipe: TrainConfig, out: Path, resume: bool) -> None:
        assert resume
        self.recipe = recipe

    def evaluate(self, out: Path, *_: object, limit: int | None, **__: object) -> None:
        self.limit = limit
        (out / "report.json").write_text(json.dumps(REPORT))


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    return Stages(monkeypatch)


def test_an_interrupted_demo_goes_on_where_it_was(stages: Stages, out: Path) -> None:
    always = ["load_picturebook", "build_heldout"]
    stages.interrupt = "fit_baselines"
    with pytest.raises(Interrupted):
        run_demo(out, recipe="short")
    assert stages.called == [*always, "tokenizer", "picturebook_tasks", "fit_baselines"]

    always += ["picturebook_tasks", "fit_baselines"]
    corpora = len(load_recipe("short").vision.corpora)
    stages.interrupt = "pretrain_vision"
    stages.called.clear()
    with pytest.raises(Interrupted):
        run_demo(out, recipe="short")
    assert stages.called == [*always, *["open_picture_corpus"] * corpora, "pretrain_vision"]
    assert not (out / "vision").exists()

    stages.interrupt = "train"
    stages.called.clear()
    with pytest.raises(Interrupted):
        run_demo(out, recipe="short")
    assert stages.called[-2:] == ["pretrain_vision", "train"]

    stages.interrupt = ""
    stages.called.clear()
    run_demo(out, recipe="short")
    assert stages.called == [*always, "train", "evaluate_run"]
    assert stages.limit == load_recipe("short").items
    model = stages.recipe.model
    assert model.vision is not None
    assert model.vision.pretrained == model.resampler.pretrained == str(out / "vision")
    assert stages.recipe.tokenizer == str(out / "tokenizer")
    timing = json.loads((out / "timing.json").read_text())
    assert list(timing) == ["data", "preparation", "pretraining", "training", "evaluation", "total"]
    assert timing["total"] == pytest.approx(sum(timing.values()) - timing["total"], abs=0.06)

    stages.called.clear()
    run_demo(out, recipe="short")
    assert stages.called == []


def test_a_damaged_tower_is_not_taken(stages: Stages, out: Path) -> None:
    stages.interrupt = "train"
    with pytest.raises(Interrupted):
        run_demo(out, recipe="short")
    stages.interrupt = ""
    stages.called.clear()
    with (out / "vision" / "config.yaml").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(StorageError, match=r"config\.yaml: damaged: .*; remove .*vision to have it pretrained again"):
        run_demo(out, recipe="short")
    assert "train" not in stages.called
    run_demo(out, fresh=True)
    assert stages.called[-2:] == ["train", "evaluate_run"] and stages.limit is None


def test_making_the_pictures_is_part_of_the_measured_pretraining(
    stages: Stages, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("kosmos.demo.time.monotonic", lambda: now[0])

    def draw(*_: object) -> None:
        now[0] += 7.0

    monkeypatch.setattr(demo, "open_picture_corpus", draw)
    run_demo(out, recipe="short")
    timing = json.loads((out / "timing.json").read_text())
    assert timing["pretraining"] == timing["total"] == 7.0 * len(load_recipe("short").vision.corpora)
