"""Trackers: TensorBoard and Weights & Biases, beside metrics.jsonl. None of them can stop a run."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from kosmos.config import TrainConfig
from kosmos.config_files import config_to_mapping
from kosmos.errors import ConfigError

TENSORBOARD_FOLDER = "tensorboard"

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """Where figures are sent."""

    def log(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in RUN/tensorboard; points after `first` that an earlier process wrote are hidden."""

    def __init__(self, run: Path, first: int, config: TrainConfig) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(run / TENSORBOARD_FOLDER), purge_step=first + 1)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of W&B's project `kosmos` (or WANDB_PROJECT), gone on with when the run directory is.

    It is told the recipe and the figures: no code, no git state, no console output.
    """

    def __init__(self, run: Path, first: int, config: TrainConfig) -> None:
        import wandb

        library: Any = wandb
        place = run.resolve()
        settings = library.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, save_code=False, x_disable_meta=True
        )
        self._run = library.init(
            project=os.environ.get("WANDB_PROJECT", "kosmos"),
            # Its own seed and the path: one and the same for every process of the run.
            id=hashlib.sha256(f"{place} {config.seed}".encode()).hexdigest()[:16],
            name=place.name,
            dir=str(place),
            config=config_to_mapping(config),
            resume="allow",
            settings=settings,
        )
        # Steps that are done again after a resume would be refused as W&B's own step.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({"step": step, **figures})

    def close(self) -> None:
        self._run.finish()


_KINDS: dict[str, tuple[str, Callable[[Path, int, TrainConfig], Tracker]]] = {
    "tensorboard": ("tensorboard", TensorBoard),
    "wandb": ("wandb", WeightsAndBiases),
}


def check_trackers(config: TrainConfig) -> None:
    """Raise ConfigError when a package is missing."""
    for name in config.trackers:
        if find_spec(_KINDS[name][0]) is None:
            raise ConfigError(f"trackers: {name} is not installed: pip install 'kosmos[track]'")


class Trackers:
    """The trackers of a recipe, on the first rank. One that fails is warned of once, tried again, and counted."""

    def __init__(self, config: TrainConfig, run: Path, first: int, writes: bool) -> None:
        self.failures: dict[str, int] = {}
        self._trackers: dict[str, Tracker] = {}
        for name in config.trackers if writes else ():
            with self._counted(name, "cannot be opened, the run goes on without it"):
                self._trackers[name] = _KINDS[name][1](run, first, config)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, tracker in self._trackers.items():
            with self._counted(name, "cannot be closed"):
                tracker.close()

    def timing(self) -> dict[str, int]:
        """What a line of metrics.jsonl says of failures: nothing while there are none."""
        return {"tracker_failures": sum(self.failures.values())} if self.failures else {}

    def log(self, record: Mapping[str, Any]) -> None:
        """Send the figures of one line of metrics.jsonl."""
        figures = flat_figures(record)
        for name, tracker in self._trackers.items():
            with self._counted(name, "did not take a step; metrics.jsonl has all of them"):
                tracker.log(int(record["step"]), figures)

    @contextlib.contextmanager
    def _counted(self, name: str, what: str) -> Any:
        try:
            yield
        except Exception as error:  # whatever it is: the run matters more
            if name not in self.failures:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                logger.warning("trackers: %s %s: %s", name, what, reason)
            self.failures[name] = self.failures.get(name, 0) + 1


def flat_figures(record: Mapping[str, Any]) -> dict[str, float]:
    """A line of metrics.jsonl as name -> number: loss, loss/text, validation/text, timing/mfu, bad_records/text, ..."""
    figures = {name: record[name] for name in ("loss", "lr", "grad_norm") if record.get(name) is not None}
    for source, values in record.get("sources", {}).items():
        for name, value in values.items():
            if isinstance(value, Mapping):
                figures[f"{name}/{source}"] = sum(value.values())
            elif value is not None:
                figures[f"{name}/{source}"] = value
    for source, values in record.get("validation", {}).items():
        if values["loss"] is not None:
            figures[f"validation/{source}"] = values["loss"]
    figures |= {f"timing/{name}": value for name, value in record.get("timing", {}).items()}
    return figures
