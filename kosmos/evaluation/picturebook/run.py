"""Evaluate a run: its newest weights on a list of tasks, and the report into the run directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kosmos.api import load
from kosmos.config import Precision, TrainConfig
from kosmos.config_files import config_to_mapping, load_config
from kosmos.evaluation.picturebook.report import Presentation, RunFacts, write_report
from kosmos.evaluation.picturebook.suite import run_suite
from kosmos.evaluation.task import Task
from kosmos.model.counting import count_parameters
from kosmos.runs import CONFIG_FILE, WEIGHTS, WEIGHTS_FILE, latest_step
from kosmos.storage import file_sha256

EVALUATION_FOLDER = "evaluation"
# The report on some tasks, or on some of their items, goes here: never over the full one.
PARTIAL_FOLDER = "evaluation-partial"


def evaluate_run(
    run: Path,
    tasks: Sequence[Task],
    presentation: Presentation,
    *,
    out: Path | None = None,
    step: Path | None = None,
    limit: int | None = None,
    precision: Precision = "fp32",
    device: str = "cpu",
    extra: Mapping[str, Any] | None = None,
    timing: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Evaluate the newest whole checkpoint of the run directory `run`, or its `step`; returns what report.json holds.

    The report goes to `out` (None: the run directory), samples and baselines below OUT/evaluation; what is finished for
    the same weights is not done again. `extra` are further facts for the report, `timing` goes to timing.json. Raises
    UsageError when `run` has no checkpoint, DataError or StorageError when files are missing or damaged.
    """
    out = run if out is None else out
    step = step or latest_step(run, under=WEIGHTS)  # the optimizer, say, is not needed here
    engine = load(step, precision=precision, device=device)
    key = file_sha256(step / WEIGHTS / WEIGHTS_FILE)
    abilities = run_suite(engine, tasks, out / EVALUATION_FOLDER, limit=limit, model_key=key, quiet=quiet)
    config = load_config(run / CONFIG_FILE, TrainConfig)
    data = json.dumps([config_to_mapping(config.data), config.seed], sort_keys=True)
    facts = RunFacts(
        steps=int(step.name.removeprefix("step-")),
        seed=config.seed,
        precision=engine.model.config.trained_precision or "fp32",
        parameters=asdict(count_parameters(config.model)),
        data_fingerprint=hashlib.sha256(data.encode()).hexdigest(),
        extra={**(extra or {}), "weights_sha256": key},
    )
    return write_report(out, abilities, facts, presentation, timing=timing)
