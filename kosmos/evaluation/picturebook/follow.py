"""Evaluation while training goes on: every new checkpoint of a run, by a process of its own, on any machine.

RUN/evaluations/step-N/ holds the samples and summaries of each task and scores.json, which comes last and marks the
step as done; RUN/evaluations/scores.jsonl has one line a step, ascending. Nothing of the run itself is touched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kosmos.api import load
from kosmos.config import Precision, TrainConfig
from kosmos.config_files import load_config
from kosmos.errors import KosmosError
from kosmos.evaluation.files import read_json, write_json, write_jsonl
from kosmos.evaluation.picturebook.runner import evaluate
from kosmos.evaluation.task import Task
from kosmos.runs import CONFIG_FILE, WEIGHTS, WEIGHTS_FILE, steps
from kosmos.storage import file_sha256

FOLDER = "evaluations"
SCORES_JSON = "scores.json"
SCORES_JSONL = "scores.jsonl"
SCHEMA_VERSION = 1


def follow_run(
    run: Path,
    tasks: Sequence[Task],
    *,
    out: Path | None = None,
    limit: int | None = None,
    precision: Precision = "fp32",
    device: str = "cpu",
    poll: float = 10.0,
    patience: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Evaluate each checkpoint of `run` as it comes, oldest first, until its last step is; returns all lines of scores.

    It looks every `poll` seconds, and ends too when nothing new has come for `patience` seconds (None: never). What is
    done for the same tasks, items and precision is not done again. A checkpoint that the run removes before it could
    be read, or that is damaged, is passed over. `out` is RUN/evaluations unless given; `say` gets a line a step.
    """
    out = run / FOLDER if out is None else out
    last = load_config(run / CONFIG_FILE, TrainConfig).steps
    request = {"tasks": [task.name for task in tasks], "limit": limit, "precision": precision}
    passed_over: set[int] = set()
    newest = time.monotonic()
    while True:
        waiting = [
            (number, folder)
            for number, folder in steps(run)
            if number not in passed_over and not _is_done(out / folder.name, request)
        ]
        if waiting:
            number, folder = waiting[0]
            say(_evaluate_step(folder, tasks, out / folder.name, request, limit, precision, device))
            if not _is_done(out / folder.name, request):
                passed_over.add(number)
            write_jsonl(out / SCORES_JSONL, _lines(out))
            newest = time.monotonic()
            continue
        if last in passed_over or _is_done(out / f"step-{last}", request):
            break
        if patience is not None and time.monotonic() - newest >= patience:
            break
        time.sleep(poll)
    return _lines(out)


def _evaluate_step(
    folder: Path,
    tasks: Sequence[Task],
    out: Path,
    request: dict[str, Any],
    limit: int | None,
    precision: Precision,
    device: str,
) -> str:
    """Evaluate one checkpoint into `out`; returns the line that says so."""
    begin = time.monotonic()
    try:
        engine = load(folder, precision=precision, device=device)
        key = file_sha256(folder / WEIGHTS / WEIGHTS_FILE)
    except (KosmosError, OSError) as error:
        if not folder.is_dir():
            return f"{folder.name}: removed by the run before it could be read"
        return f"{folder.name}: passed over: {error}"
    results = evaluate(engine, tasks, out, limit=limit, model_key=key, quiet=True)
    scores: dict[str, dict[str, Any]] = {
        name: {"score": result.score, "interval": [result.interval.low, result.interval.high], "n": result.n}
        for name, result in results.items()
    }
    seconds = time.monotonic() - begin
    write_json(
        out / SCORES_JSON,
        {
            "schema_version": SCHEMA_VERSION,
            "step": int(folder.name.removeprefix("step-")),
            "request": request,
            "weights_sha256": key,
            "scores": scores,
        },
    )
    figures = "  ".join(f"{name} {100 * figures['score']:.1f} %" for name, figures in scores.items())
    return f"{folder.name}: {figures}  ({seconds:.0f} s)"


def _is_done(out: Path, request: dict[str, Any]) -> bool:
    path = out / SCORES_JSON
    return path.is_file() and read_json(path).get("request") == request


def _lines(out: Path) -> list[dict[str, Any]]:
    """What scores.jsonl holds: the scores of every step evaluated, ascending."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob(f"step-*/{SCORES_JSON}")]
    return sorted(
        ({key: value for key, value in record.items() if key != "schema_version"} for record in found),
        key=lambda record: int(record["step"]),
    )
