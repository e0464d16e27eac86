"""Run tasks through the Engine: samples on disk, a summary per task, finished tasks never repeated."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.files import read_json, read_jsonl, write_json, write_jsonl
from kosmos.evaluation.metrics import get_metric
from kosmos.evaluation.picturebook.responses import EngineLike, Item, Response, ask, collect_requests, prepare
from kosmos.evaluation.progress import EvaluationProgress
from kosmos.evaluation.statistics.intervals import Interval, interval, mean
from kosmos.evaluation.task import Task, render

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TaskResult:
    """A task's outcome: the mean value over its items, its interval, and each item's value and prediction."""

    name: str
    n: int
    score: float
    interval: Interval
    values: tuple[float, ...]
    predictions: tuple[str, ...]
    num_ties: int
    constant_answer: bool
    data_fingerprint: str


def evaluate(
    engine: EngineLike,
    tasks: Sequence[Task],
    out: Path,
    blank: bool = False,
    limit: int | None = None,
    model_key: str = "",
    quiet: bool = False,
) -> dict[str, TaskResult]:
    """Run `tasks` and return their results by name, in order.

    Writes `out/NAME.jsonl` (one sample a line), then `out/NAME.json` (the summary, which marks the task as finished),
    and `out/timing.json`. A finished task is skipped when nothing it depends on has changed: the prompts, pictures,
    answers, settings, and `model_key`, by which the caller names the weights. `blank` makes every picture white;
    `limit` takes the first so many examples. Sample and summary files are the same from run to run.
    """
    repeated = [name for name, count in Counter(task.name for task in tasks).items() if count > 1]
    if repeated:
        raise UsageError(f"two tasks are called '{repeated[0]}'; names must be unique")
    plans = [_plan(task, blank, limit, model_key) for task in tasks]
    finished = {plan.task.name for plan in plans if _is_finished(out, plan)}
    requests = {
        plan.task.name: collect_requests(plan.task, plan.items) for plan in plans if plan.task.name not in finished
    }
    total = sum(request.cost for request in requests.values())
    results: dict[str, TaskResult] = {}
    title = "Blank images" if blank else "Evaluation"
    with EvaluationProgress(total, len(requests), title, quiet or not requests) as progress:
        for plan in plans:
            task = plan.task
            if task.name not in finished:
                progress.begin(task.name)
                start = time.monotonic()
                responses = ask(engine, requests[task.name], plan.items, progress.advance)
                _store(out, plan, responses)
                _record_seconds(out, task.name, time.monotonic() - start)
            results[task.name] = load_result(out, task.name)
            if task.name not in finished:
                progress.end(describe(results[task.name]))
    return results


def data_fingerprint(task: Task, limit: int | None = None) -> str:
    """A hash of the prompts, pictures and answers that `evaluate` asks: equal for equal test sets."""
    return _plan(task, False, limit, "").data_fingerprint


def load_result(out: Path, name: str) -> TaskResult:
    """Read a finished task's result from `out`. Raises DataError when it is missing or damaged."""
    summary = read_json(out / f"{name}.json")
    samples = read_jsonl(out / f"{name}.jsonl")
    try:
        if len(samples) != summary["n"]:
            raise DataError(f"{out / name}.jsonl: {len(samples)} samples, not {summary['n']}; evaluate again")
        return TaskResult(
            name=name,
            n=summary["n"],
            score=summary["score"],
            interval=Interval(summary["interval"][0], summary["interval"][1], summary["interval_method"]),
            values=tuple(sample["value"] for sample in samples),
            predictions=tuple(sample["prediction"] for sample in samples),
            num_ties=summary["num_ties"],
            constant_answer=summary["constant_answer"],
            data_fingerprint=summary["data_fingerprint"],
        )
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"{out / name}.json: not a result file of this version ({error}); evaluate again") from error


def describe(result: TaskResult) -> str:
    """One line: name, score in per cent with its interval, and n."""
    low, high = result.interval.low * 100, result.interval.high * 100
    return f"{result.name:<24} {result.score * 100:5.1f} %  [{low:.1f}, {high:.1f}]  n = {result.n}"


@dataclass(frozen=True)
class _Plan:
    task: Task
    items: tuple[Item, ...]
    key: str
    data_fingerprint: str
    n_expected: int


def _plan(task: Task, blank: bool, limit: int | None, model_key: str) -> _Plan:
    examples = task.examples()
    if not examples:
        raise DataError(f"task {task.name}: its test set is empty")
    chosen = examples if limit is None else examples[:limit]
    if not chosen:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    duplicates = [name for name, count in Counter(example.id for example in chosen).items() if count > 1]
    if duplicates:
        raise DataError(f"task {task.name}: two examples have the id '{duplicates[0]}'")
    items = tuple(prepare(task, example, blank) for example in chosen)
    content = [[item.example.id, item.hashes, item.candidates, item.golds, item.example.cluster] for item in items]
    settings = [task.name, task.mode, task.metric, task.normalization, task.max_new_tokens, blank, model_key]
    return _Plan(
        task=task,
        items=items,
        key=_sha256([SCHEMA_VERSION, settings, content]),
        data_fingerprint=_sha256(content),
        n_expected=len(examples),
    )


def _is_finished(out: Path, plan: _Plan) -> bool:
    path = out / f"{plan.task.name}.json"
    return path.exists() and read_json(path).get("key") == plan.key


def _store(out: Path, plan: _Plan, responses: list[Response]) -> None:
    """Samples first, the summary last: a summary on disk means that all is there."""
    task = plan.task
    write_jsonl(out / f"{task.name}.jsonl", [_sample(task, i, r) for i, r in zip(plan.items, responses, strict=True)])
    values = [response.value for response in responses]
    bound = interval(values, [item.example.cluster for item in plan.items])
    normalize = get_metric(task.metric).normalize
    commonest = Counter(normalize(response.prediction) for response in responses).most_common(1)[0][1]
    summary = {
        "schema_version": SCHEMA_VERSION,
        "task": task.name,
        "metric": task.metric,
        "mode": task.mode,
        "normalization": task.normalization,
        "n": len(values),
        "n_expected": plan.n_expected,
        "score": mean(values),
        "interval": [bound.low, bound.high],
        "interval_method": bound.method,
        "num_ties": sum(response.ties > 1 for response in responses),
        # A guard rail: nearly always the same answer is rarely an ability.
        "constant_answer": len(values) > 1 and commonest >= 0.99 * len(values),
        "data_fingerprint": plan.data_fingerprint,
        "key": plan.key,
    }
    write_json(out / f"{task.name}.json", summary)


def _sample(task: Task, item: Item, response: Response) -> dict[str, Any]:
    prompts = [render(document) for document in item.documents]
    sample: dict[str, Any] = {
        "task": task.name,
        "id": item.example.id,
        "cluster": item.example.cluster,
        "prompt": prompts[0],
        "prompt_sha256": list(item.hashes),
        "image_sha256": [[image.sha256 for image in document.images] for document in item.documents],
        "prediction": response.prediction,
        "normalized": get_metric(task.metric).normalize(response.prediction),
        "gold": list(item.golds),
        "value": response.value,
    }
    if task.mode == "generate":
        sample["finish_reason"] = response.finish_reason
    else:
        sample["candidates"] = prompts if task.mode == "yes" else list(item.candidates)
        sample["scores"] = [round(score, 6) for score in response.scores]
        sample["ties"] = response.ties
    return sample


def _record_seconds(out: Path, name: str, seconds: float) -> None:
    path = out / "timing.json"
    timing = read_json(path) if path.exists() else {}
    write_json(path, {**timing, name: round(seconds, 3)})


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
