"""Evaluate a run: its newest weights on a list of tasks, and the report into the run directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kosmos.api import load
from kosmos.config import TrainConfig
from kosmos.config_files import config_to_mapping, load_config
from kosmos.evaluation.report import Presentation, RunFacts, write_report
from kosmos.evaluation.suite import run_suite
from kosmos.evaluation.task import Task
from kosmos.inference.engine import Precision
from kosmos.model.counting import count_parameters
from kosmos.model.weights import WEIGHTS_FILE
from kosmos.runs import resolve
from kosmos.storage import file_sha256
from kosmos.training.checkpoint import read_state
from kosmos.training.loop import CONFIG_FILE

EVALUATION_FOLDER = "evaluation"


def evaluate_run(
    run: Path,
    tasks: Sequence[Task],
    presentation: Presentation,
    *,
    limit: int | None = None,
    precision: Precision = "fp32",
    quiet: bool = False,
) -> dict[str, Any]:
    """Evaluate the newest whole checkpoint of the run directory `run`; returns what report.json holds.

    Samples and baselines go below RUN/evaluation; what is finished for the same weights is not done again.
    Raises UsageError when `run` has no checkpoint, DataError or StorageError when files are missing or damaged.
    """
    weights = resolve(run)
    engine = load(weights, precision=precision)
    model_key = file_sha256(weights / WEIGHTS_FILE)
    abilities = run_suite(engine, tasks, run / EVALUATION_FOLDER, limit=limit, model_key=model_key, quiet=quiet)
    return write_report(run, abilities, run_facts(run, weights), presentation)


def run_facts(run: Path, weights: Path) -> RunFacts:
    """What was trained: the recipe's data, seed and steps, the model's size."""
    config = load_config(run / CONFIG_FILE, TrainConfig)
    state = read_state(weights.parent)
    data = json.dumps([config_to_mapping(config.data), config.seed], sort_keys=True)
    counts = asdict(count_parameters(config.model))
    return RunFacts(
        steps=state.step,
        seed=config.seed,
        precision=state.precision,
        parameters=counts,
        data_fingerprint=hashlib.sha256(data.encode()).hexdigest(),
    )
