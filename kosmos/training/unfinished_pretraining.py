"""What an unfinished vision pretraining keeps, so that it goes on to the same bits as if it had never stopped.

`.NAME.partial/` beside the folder NAME that is to be: config.yaml, metrics.jsonl, and state.pt of the last save.
"""

from __future__ import annotations

import io
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from kosmos.config import Precision, VisionPretrainingConfig
from kosmos.config_files import load_config, save_config
from kosmos.errors import ConfigError, StorageError
from kosmos.runs import CONFIG_FILE, METRICS_FILE
from kosmos.storage import make_folder, write_atomic
from kosmos.training.contrast import Contrast
from kosmos.training.pretraining_optimizer import PretrainingOptimizer

_STATE = "state.pt"


class UnfinishedPretraining:
    """The hidden folder of a pretraining that is to end in `out`; one of other settings is thrown away."""

    def __init__(self, config: VisionPretrainingConfig, out: Path) -> None:
        self.folder = out.with_name(f".{out.name}.partial")
        self._config = config
        self._state: dict[str, Any] | None = None
        if self._is_ours():
            self._state = self._read()
        if self._state is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def step(self) -> int:
        """The last step that is saved; 0 when none is."""
        return int(self._state["step"]) if self._state else 0

    @property
    def precision(self) -> Precision | None:
        """What the saved steps were computed in."""
        return self._state["precision"] if self._state else None

    @property
    def metrics(self) -> Path:
        return self.folder / METRICS_FILE

    def begin(self, model: Contrast, optimizer: PretrainingOptimizer) -> None:
        """Make the folder, or put what it holds into `model` and `optimizer`, and into the random generators.

        What was saved with other captions is thrown away.
        """
        state = self._state
        if state is not None and torch.equal(state["model"]["captions.features"], model.captions.features.cpu()):
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            if torch.cuda.is_available() and state["random_cuda"]:
                torch.cuda.set_rng_state_all(state["random_cuda"])
            return
        self._state = None
        shutil.rmtree(self.folder, ignore_errors=True)
        make_folder(self.folder)
        save_config(self._config, self.folder / CONFIG_FILE)

    def save(self, step: int, precision: Precision, model: Contrast, optimizer: PretrainingOptimizer) -> None:
        """Keep everything as it is after `step`. Raises StorageError; what was saved before stays then."""
        state = {
            "step": step,
            "precision": precision,
            "model": {name: tensor.cpu() for name, tensor in model.state_dict().items()},
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        out = io.BytesIO()
        torch.save(state, out)
        write_atomic(self.folder / _STATE, out.getvalue())
        self._state = state

    def leave(self) -> None:
        """After an error: keep the folder when there is something in it to go on from."""
        if not (self.folder / _STATE).exists():
            self.remove()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_ours(self) -> bool:
        if not (self.folder / _STATE).is_file():
            return False
        try:
            before = load_config(self.folder / CONFIG_FILE, VisionPretrainingConfig)
        except ConfigError:  # of a version with other keys
            return False
        # Neither moves a bit of the result on one machine's own terms.
        return replace(before, threads=self._config.threads, log_every=self._config.log_every) == self._config

    def _read(self) -> dict[str, Any]:
        path = self.folder / _STATE
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise StorageError(f"{path}: damaged; remove {self.folder} to have the pretraining start anew") from error
        return state
