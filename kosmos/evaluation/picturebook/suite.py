"""Run a suite: every task with pictures, with blank pictures, and its baselines; what is finished is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from kosmos.evaluation.files import read_json, write_json
from kosmos.evaluation.picturebook.ability import Ability
from kosmos.evaluation.picturebook.baselines import BaselineResult, run_baselines
from kosmos.evaluation.picturebook.responses import EngineLike
from kosmos.evaluation.picturebook.runner import data_fingerprint, evaluate
from kosmos.evaluation.progress import EvaluationProgress
from kosmos.evaluation.statistics.intervals import Interval
from kosmos.evaluation.task import Task


def run_suite(
    engine: EngineLike,
    tasks: Sequence[Task],
    out: Path,
    limit: int | None = None,
    model_key: str = "",
    quiet: bool = False,
) -> list[Ability]:
    """Evaluate `tasks` and return their report rows, in order.

    Writes below `out`: samples/ and blank/ (one file of samples and one summary per task), baselines/, and timing
    beside them. `model_key` names the weights: another key evaluates anew.
    """
    results = evaluate(engine, tasks, out / "samples", limit=limit, model_key=model_key, quiet=quiet)
    examples = {task.name: task.examples()[:limit] for task in tasks}
    seeing = [task for task in tasks if any(example.images for example in examples[task.name])]
    blanks = evaluate(engine, seeing, out / "blank", blank=True, limit=limit, model_key=model_key, quiet=quiet)
    fingerprints = {name: result.data_fingerprint for name, result in results.items()}
    baselines = _baselines(tasks, fingerprints, out / "baselines", limit, quiet)
    return [
        Ability(
            task=task,
            result=results[task.name],
            blank=blanks.get(task.name),
            baselines=tuple(baselines[task.name]),
            chance=task.chance_score(examples[task.name]),
        )
        for task in tasks
    ]


def fit_baselines(tasks: Sequence[Task], out: Path, limit: int | None = None, quiet: bool = False) -> None:
    """Fit and score the cheap baselines ahead of `run_suite`, which needs no model for them and finds them in `out`."""
    fingerprints = {task.name: data_fingerprint(task, limit) for task in tasks}
    _baselines(tasks, fingerprints, out / "baselines", limit, quiet)


def _baselines(
    tasks: Sequence[Task], fingerprints: dict[str, str], out: Path, limit: int | None, quiet: bool
) -> dict[str, list[BaselineResult]]:
    found: dict[str, list[BaselineResult]] = {}
    pending: list[Task] = []
    for task in tasks:
        stored = _load(out / f"{task.name}.json", _key(task, fingerprints[task.name]))
        if stored is None:
            pending.append(task)
        else:
            found[task.name] = stored
    with EvaluationProgress(len(pending), len(pending), "Baselines", quiet or not pending) as progress:
        for task in pending:
            progress.begin(task.name)
            start = time.monotonic()
            found[task.name] = run_baselines(task, limit)
            rows = [_row(baseline) for baseline in found[task.name]]
            write_json(out / f"{task.name}.json", {"key": _key(task, fingerprints[task.name]), "baselines": rows})
            timing = out / "timing.json"
            seconds = read_json(timing) if timing.exists() else {}
            write_json(timing, {**seconds, task.name: round(time.monotonic() - start, 3)})
            progress.advance(1)
            scores = ", ".join(f"{b.name} {b.score * 100:.1f} %" for b in found[task.name])
            progress.end(f"{task.name:<24} {scores or 'none'}")
    return found


def _key(task: Task, fingerprint: str) -> list[object]:
    return [fingerprint, task.metric, list(task.baselines), task.num_train_examples]


def _load(path: Path, key: list[object]) -> list[BaselineResult] | None:
    stored = read_json(path) if path.exists() else {}
    if stored.get("key") != key:
        return None
    return [
        BaselineResult(row["name"], row["score"], Interval(row["low"], row["high"], row["method"]), row["n"])
        for row in stored["baselines"]
    ]


def _row(baseline: BaselineResult) -> dict[str, object]:
    bound = baseline.interval
    return {
        "name": baseline.name,
        "score": baseline.score,
        "low": bound.low,
        "high": bound.high,
        "method": bound.method,
        "n": baseline.n,
    }
