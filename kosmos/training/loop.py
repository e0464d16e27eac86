"""The training loop: recipe in, run directory out; interrupted and resumed equals never interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from kosmos.config import Precision, TrainConfig
from kosmos.config_checks import check_config
from kosmos.config_files import config_to_mapping, load_config, save_config
from kosmos.data.health import TooManyBadRecords
from kosmos.data.loader import open_stream
from kosmos.data.readers import BadRecord
from kosmos.data.stream import Step, StepStream
from kosmos.errors import ConfigError, Interrupted, UsageError
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import CONFIG_FILE, METRICS_FILE, WEIGHTS
from kosmos.storage import make_folder
from kosmos.tokenizer import Tokenizer
from kosmos.training.checkpoint import (
    TrainingState,
    latest_checkpoint,
    load_model,
    load_optimizer,
    read_state,
    save_checkpoint,
)
from kosmos.training.interrupt import StopRequest
from kosmos.training.metrics import LineLog, step_record
from kosmos.training.optimizer import Optimizer
from kosmos.training.precision import choose_device, choose_precision
from kosmos.training.progress import open_progress
from kosmos.training.step import TrainingModule, train_step
from kosmos.training.threads import set_threads

BAD_RECORDS_FILE = "bad_records.log"

# What a resumed run may change: nothing of it moves a single bit of the result, or it is the user's own machine.
_FREE_TO_CHANGE = ("device", "threads", "log_every", "checkpoint_every", "keep_checkpoints", "data.workers")
# What a run starts from; it may lie in the run directory, which may be moved, or be named by another path.
_PATHS = ("tokenizer", "model.vision.pretrained", "model.resampler.pretrained")


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train by a recipe into the run directory `out`, and return it. `on_step` gets each line of metrics.jsonl.

    With `resume` an unfinished run goes on from its last whole checkpoint (one without any starts again, a finished
    one is left as it is). Raises UsageError when `out` holds something and `resume` is not given, or the recipe is
    another than the run's; DataError; StorageError when the disk refuses; Interrupted after SIGINT or SIGTERM.
    """
    out = Path(out)
    check_config(config, "recipe")
    found = _find_checkpoint(config, out, resume)
    set_threads(config.threads)
    device = choose_device(config.device)
    done = read_state(found) if found else None
    first = done.step if done else 0
    if first >= config.steps:
        return out
    precision: Precision = choose_precision(done.precision if done else config.precision, device)

    tokenizer_path = str(found / WEIGHTS) if found else config.tokenizer
    model_config = replace(config.model, trained_precision=precision)
    processor = _open_processor(tokenizer_path, config, model_config)
    torch.manual_seed(config.seed)
    model = (load_model(found) if found else Kosmos(model_config, random_vision=config.random_vision)).to(device)
    optimizer = Optimizer(model, config.optimizer, config.steps)
    if found:
        load_optimizer(found, optimizer)
    model.train()
    module = TrainingModule(model)

    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(config.steps, first, config.log_every, quiet))
        stop = stack.enter_context(StopRequest(quiet))
        stream = FirstStepReady(open_stream(config.data, processor, config.seed, done.stream if done else None))
        stack.callback(stream.close)
        # Only now, with everything in place, is the run directory touched: a run that cannot start leaves nothing.
        make_folder(out)
        if not found:
            save_config(config, out / CONFIG_FILE)
        metrics = stack.enter_context(LineLog(out / METRICS_FILE, first))
        bad_records = stack.enter_context(LineLog(out / BAD_RECORDS_FILE, first))
        number = first
        while True:
            begin = time.perf_counter()
            try:
                step = next(stream)
            except TooManyBadRecords as error:
                _log_bad(bad_records, number + 1, [(error.source, bad) for bad in error.found])
                raise
            waited = time.perf_counter() - begin
            number = step.number
            _log_bad(bad_records, number, step.bad)
            result = train_step(
                module,
                optimizer,
                step.batches,
                step=number,
                seed=config.seed,
                device=device,
                precision=precision,
            )
            record = step_record(result, step, time.perf_counter() - begin, waited)
            metrics.write(record)
            progress.step(record)
            if on_step is not None:
                on_step(record)
            last = number == config.steps
            if last or stop.requested or number % config.checkpoint_every == 0:
                # The lines of a step must be on disk before its checkpoint says that the step is done.
                metrics.sync()
                bad_records.sync()
                state = TrainingState(number, config.seed, precision, step.state)
                save_checkpoint(out, state, model, processor, optimizer, config.keep_checkpoints)
            if last:
                return out
            if stop.requested:
                raise Interrupted(f"{out}: saved after step {number} of {config.steps} and stopped; resume to go on")


class FirstStepReady:
    """A stream whose first step is made at once, so that what is wrong with the data is known before a run begins.

    Too many bad records are kept for the first `next`: there is a log to name them in by then.
    """

    def __init__(self, stream: StepStream) -> None:
        self._stream = stream
        self._first: Step | TooManyBadRecords | None
        try:
            self._first = next(stream)
        except TooManyBadRecords as error:
            self._first = error
        except BaseException:
            stream.close()
            raise
        self.close = stream.close

    def __next__(self) -> Step:
        first, self._first = self._first, None
        if isinstance(first, TooManyBadRecords):
            raise first
        return next(self._stream) if first is None else first


def _log_bad(log: LineLog, step: int, found: list[tuple[str, BadRecord]]) -> None:
    """Name the records that were passed over while the step was made."""
    for source, bad in found:
        log.write({"step": step, "source": source, "why": bad.why, "where": bad.where, "detail": bad.detail})


def _find_checkpoint(config: TrainConfig, out: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from, if any."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise UsageError(f"{out}: is a file; choose another run directory")
    if not resume:
        if any(out.iterdir()):
            raise UsageError(f"{out}: exists already and is not empty; resume it, or choose another run directory")
        return None
    if (out / CONFIG_FILE).exists():
        _check_same_recipe(config, load_config(out / CONFIG_FILE, TrainConfig), out)
    return latest_checkpoint(out)


def _check_same_recipe(config: TrainConfig, before: TrainConfig, out: Path) -> None:
    """Raises UsageError that names the keys in which a resumed run would differ."""
    now_keys, before_keys = _flat(config_to_mapping(config)), _flat(config_to_mapping(before))
    keys = [*now_keys, *(key for key in before_keys if key not in now_keys)]
    different = [
        key
        for key in keys
        if key not in _FREE_TO_CHANGE
        and (now := now_keys.get(key)) != (then := before_keys.get(key))
        and not (key in _PATHS and now and then and _same_within(out, now, then))
    ]
    if different:
        raise UsageError(
            f"{out}: the run was started with another recipe ({', '.join(different[:5])}); "
            "resume with its own config.yaml, or start a new run"
        )


def _same_within(out: Path, now: str, before: str) -> bool:
    """Whether `now` lies in the run directory `out`, and `before` named the same place in it."""
    run, place = out.resolve(), Path(now).resolve()
    if run not in place.parents:
        return False
    inside = place.relative_to(run).parts
    return Path(before).parts[-len(inside) :] == inside


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _open_processor(path: str, config: TrainConfig, model_config: Any) -> Processor:
    if not path:
        raise ConfigError("tokenizer: name a SentencePiece model file; `kosmos tokenizer train` makes one")
    tokenizer = Tokenizer.load(path)
    if tokenizer.vocab_size > config.model.decoder.vocab_size:
        size = config.model.decoder.vocab_size
        raise ConfigError(f"model.decoder.vocab_size {size} is below the tokenizer's {tokenizer.vocab_size}")
    return Processor(tokenizer, model_config)
