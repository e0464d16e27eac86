"""`kosmos demo`: from nothing to a trained picture-book model and its report, in one resumable run directory.

Stages, each whole or absent: data (in the cache), tokenizer/, vision/, checkpoints/, evaluation/, report.json.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

from kosmos.config import DemoConfig, TrainConfig, VisionPretrainingConfig, replace
from kosmos.config_files import PRESETS, load_config, read_yaml
from kosmos.data.picturebook.concepts import load_picturebook
from kosmos.data.picturebook.corpus import tokenizer_corpus
from kosmos.data.picturebook.heldout import build_heldout
from kosmos.data.picturebook.vision_corpus import open_picture_corpus
from kosmos.errors import StorageError, UsageError
from kosmos.evaluation.files import read_json, write_json
from kosmos.evaluation.report import (
    CONTACT_SHEET,
    LOSS_CURVE,
    REPORT_JSON,
    REPORT_MD,
    TIMING_JSON,
    Presentation,
)
from kosmos.evaluation.report_terminal import print_report
from kosmos.evaluation.run import EVALUATION_FOLDER, evaluate_run
from kosmos.evaluation.suite import fit_baselines
from kosmos.evaluation.tasks.picturebook import picturebook_tasks
from kosmos.storage import make_folder
from kosmos.tokenizer import Tokenizer
from kosmos.training.loop import BAD_RECORDS_FILE, CONFIG_FILE, METRICS_FILE, train
from kosmos.training.threads import set_threads
from kosmos.training.vision_pretraining import pretrain_vision

RECIPES = PRESETS / "recipes"
TOKENIZER, VISION, TIMES = "tokenizer", "vision", "demo_timing.json"
# Everything that a demo, finished or not, leaves in its folder; a killed one leaves `.NAME.xyz` of it as well.
_TRAINED = (TOKENIZER, VISION, TIMES, "checkpoints", CONFIG_FILE, METRICS_FILE, BAD_RECORDS_FILE)
_OURS = (*_TRAINED, EVALUATION_FOLDER, REPORT_JSON, REPORT_MD, CONTACT_SHEET, LOSS_CURVE, TIMING_JSON)

CREDIT = "Pictures: Twemoji, (c) Twitter, Inc. and other contributors, CC-BY 4.0"
NOTES = (
    "Nothing here is a photograph: every picture is a drawing or made by a program, 48 pixels wide.",
    "The captions are short because the training captions are.",
    "The artist of the test pictures (Twemoji) is never seen in training; the four training artists are Noto, "
    "Fluent, EmojiOne and FxEmoji, whose style is related, so pixel 1-nearest-neighbour is a strong baseline.",
    "A row called not learned is left in on purpose; docs/log.md says what was tried.",
)
NEXT_STEPS = (
    ("kosmos generate RUN -i PICTURE.png 'An image of'", "name a picture of your own"),
    ("kosmos report RUN", "print this table again"),
    ("kosmos demo --recipe long --out runs/demo-long", "the same with an hour of training"),
)


def run_demo(out: Path, *, fresh: bool = False, short: bool = False, recipe: str = "default") -> None:
    """Run what is not done yet of the demo in `out`, then print its report.

    Raises UsageError when `out` holds something that is not a demo, and whatever the stages raise.
    """
    out = Path(out)
    config = load_recipe("short" if short else recipe)
    if fresh:
        _remove(out)
    if not (out / REPORT_JSON).exists():
        _check_ours(out)
        _run_stages(out, config)
    print_report(out)


def load_recipe(name: str) -> DemoConfig:
    """The packaged recipe `default`, or `short` or `long`, which are lists of changes to it."""
    changes = {} if name == "default" else read_yaml(RECIPES / f"picturebook-{name}.yaml")
    return load_config(RECIPES / "picturebook.yaml", DemoConfig, changes)


def _check_ours(out: Path) -> None:
    """Raises UsageError when something is in `out` that no demo has begun: the tokenizer is its first stage."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not any((out / name).is_dir() for name in (TOKENIZER, f".{TOKENIZER}.partial")):
        raise UsageError(f"{out}: not a run directory of the demo; choose another one with --out")


def _remove(out: Path) -> None:
    if not out.exists():
        return
    _check_ours(out)
    prefixes = tuple(f".{name}." for name in _OURS)
    for path in sorted(out.iterdir()):
        if path.name not in _OURS and not path.name.startswith(prefixes):
            raise UsageError(f"{path}: not made by the demo, so --fresh does not remove it; move it away first")
    try:
        shutil.rmtree(out)
    except OSError as error:
        raise StorageError(f"{out}: cannot remove it: {error.strerror or error}") from error


def _run_stages(out: Path, config: DemoConfig) -> None:
    size = config.vision.vision.image_size
    _say("Data: the picture book and its held-out sets")
    book = load_picturebook()
    build_heldout(size)
    make_folder(out)
    times = _Times(out / TIMES)
    # First of all that is written: `_check_ours` knows a demo by it.
    if not (out / TOKENIZER).exists():
        _say(f"Tokenizer: SentencePiece with {config.pieces} pieces")
        _train_tokenizer(out / TOKENIZER, book, config.pieces)
    tasks = picturebook_tasks(size)
    limit = config.items or None
    # What a nearest neighbour or a constant answer scores has nothing to do with the model, and is data too.
    fit_baselines(tasks, out / EVALUATION_FOLDER, limit)

    vision = replace(config.vision, tokenizer=str(out / TOKENIZER))
    if (out / VISION).exists():
        _check_same_pretraining(vision, out / VISION)
    else:
        pictures = vision.steps * vision.batch_size
        _say(f"Vision: pretraining the tower on {pictures:,} pictures of the training artists, {vision.steps} steps")
        corpora = [open_picture_corpus(c.name, c.pictures, vision.seed, size) for c in vision.corpora]
        with times.measure("pretraining"):
            pretrain_vision(vision, corpora, out / VISION)
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
            _presentation(),
            limit=limit,
            precision=config.precision,
            extra={"vision_pretraining_steps": vision.steps},
            timing=read_json(out / TIMES),
        )


def _train_tokenizer(folder: Path, book: Any, pieces: int) -> None:
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    Tokenizer.train(tokenizer_corpus(book), temporary / "tokenizer.model", vocab_size=pieces).save(temporary)
    temporary.rename(folder)


def _check_same_pretraining(config: VisionPretrainingConfig, folder: Path) -> None:
    before = load_config(folder / CONFIG_FILE, VisionPretrainingConfig)
    # The tokenizer is the one beside it, by whatever path.
    if replace(before, tokenizer=config.tokenizer, threads=config.threads) != config:
        raise UsageError(f"{folder}: was made with another recipe; choose another --out, or start anew with --fresh")


def _presentation() -> Presentation:
    return Presentation(
        title="What the picture-book KOSMOS-1 can do",
        introduction="Trained from scratch on the drawings of four artists, made-up worlds and WordNet's text; "
        "tested on a fifth artist's drawings.",
        sheet_task="naming",
        sheet_title="What the model says it sees (an artist it never saw)",
        credit=CREDIT,
        notes=NOTES,
        next_steps=NEXT_STEPS,
    )


class _Times:
    """Wall seconds of the stages, added up over interruptions."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def measure(self, stage: str) -> _Stage:
        return _Stage(self._path, stage)


class _Stage:
    def __init__(self, path: Path, stage: str) -> None:
        self._path, self._stage = path, stage

    def __enter__(self) -> None:
        self._begin = time.monotonic()

    def __exit__(self, *_: object) -> None:
        times = read_json(self._path) if self._path.exists() else {}
        times[self._stage] = round(times.get(self._stage, 0.0) + time.monotonic() - self._begin, 1)
        write_json(self._path, times)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
