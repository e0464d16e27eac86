"""The training loop: recipe in, run directory out; interrupted and resumed equals never interrupted."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from kosmos.config import Precision, TrainConfig
from kosmos.config_checks import check_config
from kosmos.config_files import load_config, save_config
from kosmos.data.health import TooManyBadRecords
from kosmos.data.loader import open_stream
from kosmos.data.stream import Step, merge_states
from kosmos.errors import ConfigError, Interrupted, KosmosError, UsageError
from kosmos.processor import Processor
from kosmos.runs import CONFIG_FILE, METRICS_FILE, WEIGHTS
from kosmos.storage import make_folder, remove_unwritten
from kosmos.tokenizer import Tokenizer
from kosmos.training.absolute_paths import with_absolute_paths
from kosmos.training.checkpoint import (
    Checkpoints,
    TrainingState,
    latest_checkpoint,
    load_model,
    load_optimizer,
    read_state,
    remove_after,
)
from kosmos.training.determinism import deterministic_algorithms
from kosmos.training.interrupt import StopRequest
from kosmos.training.joint_stream import JointStream
from kosmos.training.meter import Meter
from kosmos.training.metrics import step_record
from kosmos.training.nonfinite import MOST_IN_A_ROW, MOST_REWINDS, NonFinitePolicy
from kosmos.training.optimizer import Optimizer
from kosmos.training.parallel import parallelize
from kosmos.training.precision import choose_precision
from kosmos.training.progress import open_progress
from kosmos.training.run_lock import RunLock
from kosmos.training.run_logs import BAD_RECORDS_FILE, EVENTS_FILE, RunLogs
from kosmos.training.same_recipe import check_same_recipe
from kosmos.training.start import start_model, start_tokenizer
from kosmos.training.step import NonFiniteError, StepPlan, TrainingModule, train_step
from kosmos.training.threads import set_threads
from kosmos.training.trackers import Trackers, check_trackers
from kosmos.training.validation import Validation
from kosmos.training.world import World, open_world

_T = TypeVar("_T")


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train by a recipe into the run directory `out`, and return it. `on_step` gets each line of metrics.jsonl.

    Under torchrun all ranks call this, and one of them writes. With `resume` an unfinished run goes on from its last
    whole checkpoint (one without any starts again, a finished one is left as it is), on any number of ranks. Raises
    UsageError when `out` holds something and `resume` is not given, or the recipe is another than the run's; DataError;
    StorageError when the disk refuses; Interrupted after SIGINT or SIGTERM.
    """
    out = Path(out)
    check_config(config, "recipe")
    # Wherever it is resumed from, and whoever reads its config.yaml: these are the files.
    config = with_absolute_paths(config)
    check_trackers(config)
    with (
        deterministic_algorithms(config.deterministic),
        open_world(config.device, config.parallel.replicas) as world,
    ):
        set_threads(config.threads)
        _Run(config, out, world, resume, quiet or not world.is_first, on_step).go()
    return out


class _Rewind(Exception):
    """Go back to a checkpoint, with the data where it is now."""

    def __init__(self, checkpoint: Path, state: TrainingState) -> None:
        super().__init__(str(checkpoint))
        self.checkpoint = checkpoint
        self.state = state


def on_first(world: World, act: Callable[[], _T]) -> _T:
    """What `act` gives on the first rank, on all; its error is raised on all."""
    value: Any = None
    if world.is_first:
        try:
            value = act()
        except KosmosError as error:
            value = error
    value = world.from_first(value)
    if isinstance(value, KosmosError):
        raise value
    return cast(_T, value)


class _Run:
    """One call of `train` on one rank."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        world: World,
        resume: bool,
        quiet: bool,
        on_step: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self._config, self._out, self._world, self._quiet, self._on_step = config, out, world, quiet, on_step
        self._resume = resume
        self._lock = RunLock()
        # One for all of it: what is asked for while the run goes back is not forgotten.
        self._stop = StopRequest(quiet)

    def go(self) -> None:
        """Train to the end."""
        with self._lock:
            # Whom torchrun starts again goes on by himself. Each node counts for itself, so any rank may know of it.
            again = any(self._world.gather(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"))
            # One rank looks, so that all go on from the same.
            found = on_first(self._world, partial(self._find, again))
            state = read_state(found) if found else None
            self._say_where_it_begins(state)
            for _ in range(MOST_REWINDS):
                try:
                    self._train(found, state)
                    return
                except _Rewind as rewind:
                    found, state = rewind.checkpoint, rewind.state
                on_first(self._world, partial(remove_after, self._out, state.step))
                gc.collect()  # the model that is given up
        raise NonFiniteError(
            f"{self._out}: would go back for the {MOST_REWINDS}th time; lower optimizer.lr; see events.jsonl"
        )

    def _say_where_it_begins(self, state: TrainingState | None) -> None:
        """One line where a run is resumed."""
        said = ""
        if state is not None and state.step >= self._config.steps:
            said = f"finished already, after step {state.step}; nothing is left to do"
        elif state is not None:
            said = f"going on from step {state.step} of {self._config.steps}"
        elif (self._out / CONFIG_FILE).exists():
            said = "has no checkpoint yet, so it begins again"
        if said and not self._quiet:
            print(f"{self._out}: {said}", file=sys.stderr, flush=True)

    def _train(self, found: Path | None, done: TrainingState | None) -> None:
        """Train on from `done`, the weights and moments being those of `found`."""
        config, world = self._config, self._world
        first = done.step if done else 0
        if first >= config.steps:
            return
        precision: Precision = choose_precision(done.precision if done else config.precision, world.device)
        model_config = replace(config.model, trained_precision=precision)
        processor = _open_processor(found, config, model_config)
        torch.manual_seed(config.seed)
        model = load_model(found) if found else start_model(config, model_config)
        model = model.to(world.device)
        module = TrainingModule(model, joined=world.mesh is not None)
        parallelize(module, model, config.parallel, world)
        optimizer = Optimizer(model, config.optimizer, config.steps)
        if found:
            load_optimizer(found, optimizer, world)
        model.train()
        plan = StepPlan.of(config.data, world)
        checkpoints = Checkpoints(
            self._out, processor, world, config.keep_checkpoints, config.keep_every, config.asynchronous_checkpoints
        )
        with ExitStack() as stack:
            progress = stack.enter_context(open_progress(config.steps, first, config.log_every, self._quiet))
            stop = stack.enter_context(self._stop)
            own = open_stream(
                config.data, processor, config.seed, done.stream if done else None, world.rank, world.size
            )
            stack.callback(own.close)
            # However the run ends, a save that is under way does, while there is a process group.
            stack.callback(checkpoints.close)
            stream = JointStream(own, world, config.data.max_bad_fraction)
            validation = Validation(config, processor, world, precision)
            stack.callback(validation.close)
            meter = Meter(config, model_config, world, precision)
            # Only now, with everything in place, is the run directory touched: a run that cannot start leaves nothing.
            on_first(world, lambda: self._begin(done is None))
            data_first = done.stream["step"] if done else 0
            logs = stack.enter_context(RunLogs(self._out, first, data_first, writes=world.is_first))
            trackers = stack.enter_context(Trackers(config, self._out, first, writes=world.is_first))
            skipped = 0
            save: dict[str, float] = {}  # what the save after the step before took
            for number in range(first + 1, config.steps + 1):
                begin = time.perf_counter()
                try:
                    step, stopping = stream.next(stop.requested)
                except TooManyBadRecords as error:
                    logs.bad(data_first + number - first, [(error.source, bad) for bad in error.found])
                    raise
                waited = time.perf_counter() - begin
                logs.bad(step.number, step.bad)
                try:
                    result = train_step(
                        module,
                        optimizer,
                        step.batches,
                        step=number,
                        seed=config.seed,
                        world=world,
                        precision=precision,
                        plan=plan,
                        reduce_each=config.parallel.reduce == "micro_batch",
                    )
                    skipped = 0
                except NonFiniteError as error:
                    skipped += 1
                    checkpoints.wait()
                    then, back = self._after_nonfinite(number, skipped)
                    event = {"step": number, "data_step": step.number, "event": "nonfinite", "then": then}
                    logs.event({**event, "why": str(error)})
                    if back is not None:
                        # The data goes on after the step that failed: what made it fail is passed over.
                        there = read_state(back).step
                        raise _Rewind(back, replace(self._state(number, step, precision), step=there)) from error
                    if then == "stop":
                        raise
                    result = None
                timing = meter.timing(step.counts, time.perf_counter() - begin, waited) | save | trackers.timing()
                save = {}
                record = step_record(number, result, step, timing)
                if validation.due(number):
                    record["validation"], timing["validation"] = validation.measure(module)
                logs.metrics(record)
                trackers.log(record)
                progress.step(record)
                if self._on_step is not None:
                    self._on_step(record)
                # Several ranks stop at the step on which they agreed; one alone need not wait for the next.
                stopping = stop.requested if world.mesh is None else stopping
                last = number == config.steps
                if last or stopping or number % config.checkpoint_every == 0:
                    # The lines of a step must be on disk before its checkpoint says that the step is done.
                    logs.sync()
                    begin = time.perf_counter()
                    checkpoints.save(self._state(number, step, precision), model, optimizer)
                    save = {"checkpoint": round(time.perf_counter() - begin, 6)}
                if stopping and not last:
                    checkpoints.wait()
                    raise Interrupted(f"{self._out}: saved after step {number} of {config.steps} and stopped")
            checkpoints.wait()

    def _state(self, number: int, step: Step, precision: Precision) -> TrainingState:
        """What the first rank writes; the data's state is gathered from all."""
        return TrainingState(number, self._config.seed, precision, merge_states(self._world.gather(step.state)))

    def _after_nonfinite(self, number: int, skipped: int) -> tuple[str, Path | None]:
        """What is done about a step that failed: skip, stop, or rewind to a checkpoint."""
        policy = NonFinitePolicy.parse(self._config.on_nonfinite)
        if policy.action == "skip" and skipped < MOST_IN_A_ROW:
            return "skip", None
        if policy.action == "rewind":
            back = on_first(self._world, lambda: latest_checkpoint(self._out, number - policy.steps))
            if back is not None:
                return "rewind", back
        return "stop", None

    def _find(self, again: bool) -> Path | None:
        """The checkpoint to go on from, if any; what is already there is locked."""
        if self._out.is_dir():
            self._lock.take(self._out)
        # Without being told, only with a run that has begun: the first start may have been refused.
        resume = self._resume or (again and (self._out / CONFIG_FILE).exists())
        return _find_checkpoint(self._config, self._out, resume)

    def _begin(self, new: bool) -> None:
        make_folder(self._out)
        self._lock.take(self._out)
        for name in (CONFIG_FILE, METRICS_FILE, BAD_RECORDS_FILE, EVENTS_FILE):
            remove_unwritten(self._out / name)
        if new:
            save_config(self._config, self._out / CONFIG_FILE)


def _find_checkpoint(config: TrainConfig, out: Path, resume: bool) -> Path | None:
    if not out.exists():
        return None
    if not out.is_dir():
        raise UsageError(f"{out}: is a file; choose another run directory")
    if not resume:
        if any(out.iterdir()):
            raise UsageError(f"{out}: exists already and is not empty; add --resume, or choose another run directory")
        return None
    if (out / CONFIG_FILE).exists():
        check_same_recipe(config, load_config(out / CONFIG_FILE, TrainConfig), out)
    return latest_checkpoint(out)


def _open_processor(found: Path | None, config: TrainConfig, model_config: Any) -> Processor:
    tokenizer = Tokenizer.load(found / WEIGHTS) if found else start_tokenizer(config)
    if tokenizer.vocab_size > config.model.decoder.vocab_size:
        size = config.model.decoder.vocab_size
        raise ConfigError(
            f"model.decoder.vocab_size {size} is below the tokenizer's {tokenizer.vocab_size}; "
            f"set it to {tokenizer.vocab_size}"
        )
    return Processor(tokenizer, model_config)
