"""Checkpoints: everything a run needs to go on, whole or absent, on any number of ranks.

checkpoints/step-N/ holds weights/ (a folder of `Kosmos.save_pretrained`), optimizer/ (torch.distributed.checkpoint,
written by all ranks), state.json and MANIFEST.sha256. It is written under a hidden name, its manifest synced, and
renamed; older ones are removed only after that.
"""

from __future__ import annotations

import json
import logging
import platform
import shutil
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import async_save as dcp_async_save
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save
from torch.distributed.tensor import DTensor

from kosmos import __version__
from kosmos.errors import StorageError
from kosmos.model import weights
from kosmos.model.kosmos import Kosmos, Saveable
from kosmos.runs import CHECKPOINTS, WEIGHTS, latest_step, steps
from kosmos.storage import check_manifest, make_folder, sync, sync_tree, write_manifest
from kosmos.training.optimizer import Optimizer
from kosmos.training.world import World, checkpoint_group

STATE_FILE = "state.json"
OPTIMIZER = "optimizer"
FORMAT_VERSION = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingState:
    """What state.json holds: `stream` is the data stream's state after `step`, of all ranks."""

    step: int
    seed: int
    precision: str
    stream: dict[str, Any]


class Checkpoints:
    """Saves the checkpoints of a run: the last `keep` stay, and each whose step `keep_every` divides.

    With `asynchronous`, a save copies everything to the CPU's memory and returns; files are written and committed
    behind the training. One save is under way at a time.
    """

    def __init__(
        self, run: Path, processor: Saveable, world: World, keep: int, keep_every: int = 0, asynchronous: bool = False
    ) -> None:
        self._folder = run / CHECKPOINTS
        self._run = run
        self._processor = processor
        self._world = world
        self._keep = keep
        self._keep_every = keep_every
        self._asynchronous = asynchronous
        self._under_way: _Save | None = None

    def save(self, state: TrainingState, model: Kosmos, optimizer: Optimizer) -> None:
        """Write the checkpoint of a step, on all ranks together.

        Raises StorageError when the disk refused this save, or one before that was under way; what was committed
        stays, and nothing half-written does.
        """
        self.wait()
        self._on_first(self._prepare, state)
        tensors = optimizer.state_tensors()
        whole = whole_tensors(model, self._world)
        if not self._asynchronous:
            failed = self._write_optimizer(state, tensors)
            self._on_first(self._finish, state, model, whole, failed)
            return
        written: Future[Any] | None = None
        if self._world.mesh is not None:
            with _quiet():
                written = cast(
                    "Future[Any]",
                    dcp_async_save(
                        tensors,
                        storage_writer=_writer(self._temporary(state) / OPTIMIZER),
                        process_group=checkpoint_group(),
                    ),
                )
        else:
            tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        copied = {name: tensor.clone() for name, tensor in whole.items()} if whole is not None else None
        self._under_way = _Save(lambda: self._commit_behind(state, model, tensors, copied, written))

    def wait(self) -> None:
        """Have the save that is under way, if any, done. Raises StorageError on all ranks when it failed."""
        if self._under_way is None:
            return
        message = self._under_way.result()
        self._under_way = None
        errors = [error for error in self._world.gather(message) if error]
        if errors:
            raise StorageError(errors[0])

    def close(self) -> None:
        """Let the save that is under way, if any, end, without a word to other ranks; for when a run breaks off."""
        save, self._under_way = self._under_way, None
        if save is not None and (message := save.result()):
            logger.warning("%s", message)

    def _commit_behind(
        self,
        state: TrainingState,
        model: Kosmos,
        tensors: dict[str, Tensor],
        whole: dict[str, Tensor] | None,
        written: Future[Any] | None,
    ) -> None:
        failed = ""
        if written is None:
            failed = self._write_optimizer(state, tensors)
        else:
            # On the first rank this returns when all ranks have written.
            try:
                written.result()
            except (Exception, CheckpointException) as error:  # the latter is a BaseException
                failed = _reason(error)
        if self._world.is_first:
            self._finish(state, model, whole, failed)

    def _on_first(self, act: Any, *arguments: Any) -> None:
        """Run something on the first rank; its StorageError is raised on all."""
        message = ""
        if self._world.is_first:
            try:
                act(*arguments)
            except StorageError as error:
                message = str(error)
        message = self._world.from_first(message)
        if message:
            raise StorageError(message)

    def _temporary(self, state: TrainingState) -> Path:
        return self._folder / f".step-{state.step}.saving"

    def _prepare(self, state: TrainingState) -> None:
        make_folder(self._folder)
        remove_unfinished(self._run)
        with _disk_errors(self._folder / f"step-{state.step}"):
            sync(self._run)
            self._temporary(state).mkdir()

    def _write_optimizer(self, state: TrainingState, tensors: dict[str, Tensor]) -> str:
        """Write this rank's part of the optimizer; returns what went wrong."""
        alone = self._world.mesh is None
        try:
            with _quiet():
                dcp_save(
                    tensors,
                    storage_writer=_writer(self._temporary(state) / OPTIMIZER),
                    process_group=None if alone else checkpoint_group(),
                    no_dist=alone,
                )
        except (OSError, RuntimeError, CheckpointException) as error:
            return _reason(error)
        return ""

    def _finish(self, state: TrainingState, model: Kosmos, whole: dict[str, Tensor] | None, failed: str) -> None:
        """Write what the first rank writes, and commit."""
        temporary = self._temporary(state)
        final = self._folder / f"step-{state.step}"
        try:
            with _disk_errors(final):
                if failed:
                    raise OSError(failed)
                weights.save(model, model.config, temporary / WEIGHTS, self._processor, whole)
                record = json.dumps(_state_record(state, self._world.size))
                (temporary / STATE_FILE).write_text(record, encoding="utf-8")
                write_manifest(temporary)
                sync_tree(temporary)
                if final.exists():  # a damaged one that a resumed run stepped back over
                    _remove(final)
                temporary.rename(final)
                sync(self._folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        # Later steps are there when the run stepped back over damaged ones: they count for nothing.
        kept = [found for found in steps(self._run) if found[0] <= state.step]
        for number, old in kept[: -self._keep]:
            if not (self._keep_every and number % self._keep_every == 0):
                _remove(old)


class _Save:
    """Work behind the training; `result` waits for it and gives its error's message."""

    def __init__(self, work: Any) -> None:
        self._message = ""
        self._thread = threading.Thread(target=self._run, args=(work,), name="checkpoint", daemon=False)
        self._thread.start()

    def _run(self, work: Any) -> None:
        try:
            work()
        except BaseException as error:  # whatever it is, the run must be told
            self._message = str(error) or type(error).__name__

    def result(self) -> str:
        self._thread.join()
        return self._message


def whole_tensors(model: Kosmos, world: World) -> dict[str, Tensor] | None:
    """The model's tensors, gathered from all ranks, on the CPU of the first; elsewhere None."""
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if world.is_first:
            found[name] = whole.detach().cpu()
    return found if world.is_first else None


def load_model(folder: Path) -> Kosmos:
    """The model of a checkpoint, ready to be trained on. The folder's manifest must have been checked."""
    model = Kosmos.from_pretrained(folder / WEIGHTS)
    # Tensors of a mapped file lie at other alignments, and matrix products may round otherwise there.
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data = tensor.data.clone()
    return model


def load_optimizer(folder: Path, optimizer: Optimizer, world: World) -> None:
    """Put a checkpoint's moments into `optimizer`, whatever the number of ranks was that saved them.

    Raises StorageError when they do not fit.
    """
    tensors = optimizer.empty_state_tensors()
    alone = world.mesh is None
    try:
        with _quiet():
            dcp_load(
                tensors,
                storage_reader=FileSystemReader(folder / OPTIMIZER),
                process_group=None if alone else checkpoint_group(),
                no_dist=alone,
            )
    except (OSError, RuntimeError, ValueError, KeyError, CheckpointException) as error:
        raise StorageError(f"{folder / OPTIMIZER}: does not fit the model: {_reason(error)}") from error
    optimizer.load_state_tensors(tensors)


def read_state(folder: Path) -> TrainingState:
    """The TrainingState of a checkpoint. Raises StorageError when it cannot be read."""
    try:
        record = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        if record["format"] != FORMAT_VERSION:
            raise StorageError(f"{folder}: checkpoint format {record['format']}, this program reads {FORMAT_VERSION}")
        return TrainingState(record["step"], record["seed"], record["precision"], record["stream"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{folder / STATE_FILE}: cannot be read: {error}") from error


def latest_checkpoint(run: Path, at_most: int | None = None) -> Path | None:
    """The last whole checkpoint of a run (of step `at_most` or before), or None when it has none.

    Raises StorageError when all are damaged.
    """
    if at_most is None:
        return latest_step(run) if steps(run) else None
    for number, folder in reversed(steps(run)):
        if number <= at_most:
            with suppress(StorageError):
                check_manifest(folder)
                return folder
    return None


def remove_after(run: Path, step: int) -> None:
    """Remove the checkpoints of later steps: a run that went back over them must not go on from them."""
    for number, folder in steps(run):
        if number > step:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a checkpoint; by its name first, so that what a kill leaves of it is none."""
    with suppress(OSError):
        folder = folder.rename(folder.with_name(f".{folder.name}.removed"))
    shutil.rmtree(folder, ignore_errors=True)


def remove_unfinished(run: Path) -> None:
    """Remove what a killed save left behind."""
    for leftover in (run / CHECKPOINTS).glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _writer(folder: Path) -> FileSystemWriter:
    return FileSystemWriter(folder, single_file_per_rank=True, sync_files=False)


def _state_record(state: TrainingState, ranks: int) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "step": state.step,
        "seed": state.seed,
        "precision": state.precision,
        "stream": state.stream,
        "ranks": ranks,
        "versions": {"kosmos": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }


def _reason(error: BaseException) -> str:
    """The first line that says why, out of an error that may carry those of many ranks."""
    if isinstance(error, CheckpointException):
        inner = next(iter(error.failures.values()))[0]
        return _reason(inner)
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks about saving with one process, or from a thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Say an operating system's refusal in one line, and what to do."""
    try:
        yield
    except StorageError as error:
        # The hidden name is gone when this is read.
        said = str(error).replace(f".{folder.name}.saving", folder.name)
        raise StorageError(f"{said}{_earlier(folder)}") from error
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise StorageError(
            f"{folder}: cannot write the checkpoint: {reason}{_earlier(folder)}; free some space, then resume"
        ) from error


def _earlier(folder: Path) -> str:
    """What is true of the checkpoints before this one."""
    return "; earlier checkpoints are whole" if any(folder.parent.glob("step-*")) else "; there is no checkpoint yet"
