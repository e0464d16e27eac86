"""`kosmos demo`: from nothing to a trained picture-book model and its report, in one resumable run directory.

Stages, each whole or absent: data (in the cache), tokenizer/, vision/, checkpoints/, evaluation/, report.json.
Before them stands demo_recipe.yaml, which says of which recipe the run is: a run never goes on with another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kosmos.config import DemoConfig, TrainConfig, replace
from kosmos.config_files import (
    PRESETS,
    config_from_mapping,
    config_to_mapping,
    dump_yaml,
    load_config,
    read_yaml,
)
from kosmos.data.picturebook.concepts import load_picturebook
from kosmos.data.picturebook.corpus import tokenizer_corpus
from kosmos.data.picturebook.heldout import build_heldout
from kosmos.data.picturebook.vision_corpus import open_picture_corpus
from kosmos.errors import ConfigError, Interrupted, StorageError, UsageError
from kosmos.evaluation.files import read_json, write_json
from kosmos.evaluation.picturebook.report import (
    CONTACT_SHEET,
    LOSS_CURVE,
    REPORT_JSON,
    REPORT_MD,
    TIMING_JSON,
    Presentation,
)
from kosmos.evaluation.picturebook.report_terminal import print_report
from kosmos.evaluation.picturebook.run import EVALUATION_FOLDER, PARTIAL_FOLDER, evaluate_run
from kosmos.evaluation.picturebook.suite import fit_baselines
from kosmos.evaluation.picturebook.tasks import picturebook_credits, picturebook_tasks
from kosmos.runs import CHECKPOINTS, CONFIG_FILE, METRICS_FILE
from kosmos.storage import check_manifest, commit_folder, make_folder, write_atomic
from kosmos.tokenizer import Tokenizer
from kosmos.training.loop import train
from kosmos.training.run_logs import BAD_RECORDS_FILE, EVENTS_FILE
from kosmos.training.same_recipe import flat
from kosmos.training.threads import number_of_threads, set_threads, usable_cores
from kosmos.training.vision_pretraining import pretrain_vision

RECIPES = PRESETS / "demo"
RECIPE_FILE, TOKENIZER, VISION, TIMES = "demo_recipe.yaml", "tokenizer", "vision", "demo_timing.json"
# Where each recipe runs when nothing else is said, and how to ask for it.
FOLDERS = {"default": Path("runs/demo"), "short": Path("runs/demo-short"), "long": Path("runs/demo-long")}
_OPTIONS = {"default": "no option", "short": "--short", "long": "--recipe long"}
# Everything that a demo, finished or not, leaves in its folder; a killed one leaves `.NAME.xyz` of it as well.
_TRAINED = (
    RECIPE_FILE,
    TOKENIZER,
    VISION,
    TIMES,
    CHECKPOINTS,
    CONFIG_FILE,
    METRICS_FILE,
    BAD_RECORDS_FILE,
    EVENTS_FILE,
)
_REPORTED = (EVALUATION_FOLDER, PARTIAL_FOLDER, REPORT_JSON, REPORT_MD, CONTACT_SHEET, LOSS_CURVE, TIMING_JSON)
_OURS = (*_TRAINED, *_REPORTED)

CREDIT = "Pictures: Twemoji, (c) Twitter, Inc. and other contributors, CC-BY 4.0"
NOTES = (
    "Nothing here is a photograph: every picture is a drawing or made by a program, 48 pixels wide.",
    "The captions are short because the training captions are.",
    "The artist of the test pictures (Twemoji) is never seen in training; the four training artists are Noto, "
    "Fluent, EmojiOne and FxEmoji, whose style is related, so pixel 1-nearest-neighbour is a strong baseline.",
    "A row called not learned is left in on purpose; docs/log.md says what was tried.",
)
_FULL_DEMO = ("make demo", "the whole demo: about ten minutes on two quiet cores")
NEXT_STEPS = (
    ("kosmos generate RUN -i PICTURE.png 'An image of'", "name a picture of your own"),
    ("kosmos report RUN", "print this table again"),
    ("kosmos demo --recipe long", "the same with about an hour of one core"),
)


def run_demo(out: Path | None = None, *, fresh: bool = False, recipe: str = "default") -> None:
    """Run what is not done yet of the demo in `out` (None: the recipe's own folder), then print its report.

    Raises UsageError when `out` holds something that is not a demo of this recipe, and whatever the stages raise.
    """
    config = load_recipe(recipe)
    out = FOLDERS[recipe] if out is None else Path(out)
    if fresh:
        _remove(out)
    elif _is_demo(out):
        _check_same_recipe(out, recipe, config)
    if not (out / REPORT_JSON).exists():
        _warn_of_busy_cores(config)
        with _going_on(out):
            _run_stages(out, recipe, config)
    if not (out / TIMING_JSON).exists():
        _write_timing(out)
    print_report(out)


def load_recipe(name: str) -> DemoConfig:
    """The packaged recipe `default`, or `short` or `long`, which are lists of changes to it."""
    changes = {} if name == "default" else read_yaml(RECIPES / f"picturebook-{name}.yaml")
    return load_config(RECIPES / "picturebook.yaml", DemoConfig, changes)


def _is_demo(out: Path) -> bool:
    """Whether a demo has begun in `out`; False when nothing is there. Raises UsageError when something else is."""
    if (out / RECIPE_FILE).is_file():
        return True
    # A demo that was killed while it wrote its very first file has left a part of that.
    if out.exists() and not (out.is_dir() and all(p.name.startswith(f".{RECIPE_FILE}.") for p in out.iterdir())):
        raise UsageError(f"{out}: not a run directory of the demo; choose another one with --out")
    return False


def _recipe_record(name: str, config: DemoConfig) -> dict[str, Any]:
    return {"recipe": name, "config": config_to_mapping(config)}


def _check_same_recipe(out: Path, name: str, config: DemoConfig) -> None:
    """Raises UsageError when the demo in `out` is of another recipe, or an unfinished one of this recipe as it was."""
    found = read_yaml(out / RECIPE_FILE)
    other = found.get("recipe")
    if other not in FOLDERS:
        raise UsageError(f"{out / RECIPE_FILE}: names no recipe of the demo; choose another folder with --out")
    if other != name:
        raise UsageError(
            f"{out}: holds a demo of the recipe '{other}', not '{name}'; go on with it ({_OPTIONS[other]}), choose "
            "another folder with --out, or remove it and start anew with --fresh"
        )
    changed = _changed_keys(found, config)
    if not changed:
        return
    if (out / REPORT_JSON).exists():
        _say(f"note: the recipe '{name}' has changed since this demo was made{changed}; --fresh makes it anew")
        return
    raise UsageError(
        f"{out}: the recipe '{name}' has changed since this demo began{changed}; choose another folder with --out, or "
        "remove it and start anew with --fresh"
    )


def _changed_keys(found: dict[str, Any], config: DemoConfig) -> str:
    """What of the recipe is another than in the record, as ` (keys)`; keys that it lacks had their defaults.

    Empty when nothing is.
    """
    if "config" not in found:  # a record of an earlier version: a hash of the whole recipe
        text = json.dumps(config_to_mapping(config), sort_keys=True)
        same = found.get("sha256") == hashlib.sha256(text.encode()).hexdigest()
        return "" if same else " (its record is too old to say where)"
    try:
        before = flat(config_to_mapping(config_from_mapping(found["config"], DemoConfig)))
    except (ConfigError, TypeError, AttributeError):
        return " (it has other keys)"
    now = flat(config_to_mapping(config))
    keys = [key for key in {**now, **before} if now.get(key) != before.get(key)]
    return f" ({', '.join(keys[:5])})" if keys else ""


def _remove(out: Path) -> None:
    if not _is_demo(out):
        return
    prefixes = tuple(f".{name}." for name in _OURS)
    for path in sorted(out.iterdir()):
        if path.name not in _OURS and not path.name.startswith(prefixes):
            raise UsageError(f"{path}: not made by the demo, so --fresh does not remove it; move it away first")
    try:
        shutil.rmtree(out)
    except OSError as error:
        raise StorageError(f"{out}: cannot remove it: {error.strerror or error}") from error


def _run_stages(out: Path, name: str, config: DemoConfig) -> None:
    size = config.vision.vision.image_size
    begin = time.monotonic()
    _say("Data: the picture book and its held-out sets")
    book = load_picturebook()
    build_heldout(size)
    make_folder(out)
    # First of all that is written: `_is_demo` knows a demo by it.
    if not (out / RECIPE_FILE).exists():
        write_atomic(out / RECIPE_FILE, dump_yaml(_recipe_record(name, config)))
    times = _Times(out / TIMES)
    times.add("data", time.monotonic() - begin)
    with times.measure("preparation"):
        if not (out / TOKENIZER).exists():
            _say(f"Tokenizer: SentencePiece with {config.pieces} pieces")
            _train_tokenizer(out / TOKENIZER, book, config.pieces)
        tasks = picturebook_tasks(size)
        limit = config.items or None
        # What a nearest neighbour or a constant answer scores has nothing to do with the model, and is data too.
        fit_baselines(tasks, out / EVALUATION_FOLDER, limit)

    vision = replace(config.vision, tokenizer=str(out / TOKENIZER))
    if (out / VISION).exists():
        _check_tower(out / VISION)
    else:
        pictures = vision.steps * vision.batch_size
        _say(f"Vision: pretraining the tower on {pictures:,} pictures of the training artists, {vision.steps} steps")
        with times.measure("pretraining"):
            corpora = [open_picture_corpus(c.name, c.pictures, vision.seed, size) for c in vision.corpora]
            pretrain_vision(vision, corpora, out / VISION)
            del corpora  # their pictures are not needed while the model trains
    recipe: TrainConfig = replace(
        config.train,
        **{
            "tokenizer": str(out / TOKENIZER),
            "model.vision.pretrained": str(out / VISION),
            "model.resampler.pretrained": str(out / VISION),
        },
    )
    _say(f"Training: text, picture-caption pairs and interleaved documents, {recipe.steps} steps")
    with times.measure("training"):
        train(recipe, out, resume=True)
    set_threads(config.train.threads)
    _say("Evaluation: held-out sets, with pictures and with blank ones")
    with times.measure("evaluation"):
        evaluate_run(
            out,
            tasks,
            _presentation(name),
            limit=limit,
            precision=config.precision,
            extra={"vision_pretraining_steps": vision.steps},
        )


def _warn_of_busy_cores(config: DemoConfig) -> None:
    """One line when other programs have the cores: threads that wait for each other are then slower than one.

    The number is left alone, because results depend on it.
    """
    cores = usable_cores()
    if not hasattr(os, "getloadavg") or number_of_threads(config.train.threads) == 1:
        return
    load = os.getloadavg()[0]
    if load > cores / 2:
        _say(
            f"note: the machine is busy (load {load:.1f} on {cores} cores), so steps may take many times as long; one "
            "thread suffers least: OMP_NUM_THREADS=1 make demo"
        )


@contextmanager
def _going_on(out: Path) -> Iterator[None]:
    """Say after an interruption that nothing is lost, and how to go on."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stop:
        raise Interrupted(
            f"{str(stop) or f'{out}: interrupted'}; what is done is kept: run `make demo` (or the same `kosmos demo`) "
            "again to go on"
        ) from stop


def _write_timing(out: Path) -> None:
    """timing.json: seconds of every stage, over all interruptions, and their total."""
    times: dict[str, float] = read_json(out / TIMES) if (out / TIMES).exists() else {}
    write_json(out / TIMING_JSON, {**times, "total": round(sum(times.values()), 1)})


def _train_tokenizer(folder: Path, book: Any, pieces: int) -> None:
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    Tokenizer.train(tokenizer_corpus(book), temporary / "tokenizer.model", vocab_size=pieces).save(temporary)
    commit_folder(temporary, folder)


def _check_tower(folder: Path) -> None:
    """Raises StorageError when the pretrained tower is damaged."""
    try:
        check_manifest(folder)
    except StorageError as error:
        raise StorageError(f"{error}; remove {folder} to have it pretrained again") from error


def _presentation(name: str) -> Presentation:
    return Presentation(
        title="What the picture-book KOSMOS-1 can do",
        introduction="Trained from scratch on the drawings of four artists, made-up worlds and WordNet's text; "
        "tested on a fifth artist's drawings.",
        sheet_task="naming",
        sheet_title="What the model says it sees (an artist it never saw)",
        credit=CREDIT,
        credits=picturebook_credits(),
        notes=NOTES,
        next_steps=((_FULL_DEMO,) if name == "short" else ()) + NEXT_STEPS,
    )


class _Times:
    """Wall seconds of the stages, added up over interruptions."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, stage: str, seconds: float) -> None:
        times = read_json(self._path) if self._path.exists() else {}
        times[stage] = round(times.get(stage, 0.0) + seconds, 1)
        write_json(self._path, times)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.add(stage, time.monotonic() - begin)


def _say(message: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(message, file=sys.stderr, flush=True)
