"""Measures of a cell: its metrics with intervals, and the warnings that a reader of the number needs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric, set_metric
from kosmos.evaluation.paper import KNOWN, reported
from kosmos.evaluation.running.plan import PlannedCell
from kosmos.evaluation.running.samples import NORMALIZATIONS, answered, winner
from kosmos.evaluation.statistics.bootstrap import bootstrap_interval
from kosmos.evaluation.statistics.intervals import interval, standard_error
from kosmos.example import Example


def measure_cell(planned: PlannedCell, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One entry of metrics.json. Each sample gets its `values`: what it has in the metrics that are means."""
    cell, benchmark = planned.cell, planned.cell.benchmark
    default = cell.prompt.name == benchmark.prompts[0].name
    whole = [sample for sample in samples if "broken" not in sample]
    fields = {example.id: example.fields for example in planned.examples}
    given = [answered(sample, cell.prompt.normalization, fields[sample["id"]]) for sample in whole]
    expected = benchmark.num_examples.get(benchmark.split)
    entry: dict[str, Any] = {
        **cell.settings,
        "title": benchmark.title,
        "group": benchmark.group,
        "table": benchmark.table,
        "split": benchmark.split,
        "demonstration_split": benchmark.demonstration_split,
        "default_prompt": default,
        "separator": cell.prompt.separator,
        "notes": [note for note in (benchmark.note, cell.prompt.note) if note],
        "stand_in": any(bool(example.meta.get("stand_in")) for example in planned.examples),
        "data_sha256": data_fingerprint(planned.preparer.examples),
        "n": len(whole),
        "n_expected": expected if expected is not None else planned.num_examples,
        "n_broken": len(samples) - len(whole),
        "limit": planned.limit,
        "normalization": None if cell.generates else cell.prompt.normalization,
        "chance": benchmark.chance,
        "paper": {},
        "metrics": {},
        "demonstrations_dropped": sum(sample["demonstrations_dropped"] for sample in whole),
        "cut": sum(sample["cut"] for sample in whole),
        "ties": sum(sample.get("ties", 1) > 1 for sample in whole),
    }
    if whole:
        for metric in map(set_metric, benchmark.metrics):
            if metric.subset is not None and len(whole) < planned.num_examples:
                metric = metric.subset([example.fields["answers"] for example in planned.preparer.examples])
            measured = metric.measure(given)
            entry["metrics"][metric.name] = metric_entry(metric, given, measured)
            if measured.values is not None:
                for sample, value in zip(whole, measured.values, strict=True):
                    sample.setdefault("values", {})[metric.name] = value
        if not cell.generates and "accuracy" in benchmark.metrics:
            entry["by_normalization"] = {
                way: set_metric("accuracy").measure([answered(s, way, fields[s["id"]]) for s in whole]).value
                for way in NORMALIZATIONS
            }
        entry["paper"] = _paper(planned, entry)
        entry["majority"] = _majority(planned, given)
    entry["warnings"] = _warnings(planned, given, entry)
    return entry


def metric_entry(metric: SetMetric, given: Sequence[Answered], measured: Measured | None = None) -> dict[str, Any]:
    """Value, standard error and 95 % interval of one metric; a value of None and why where it could not be computed."""
    measured = measured or metric.measure(given)
    if measured.not_run:
        return {"value": None, "not_run": measured.not_run}
    entry: dict[str, Any] = {"value": measured.value, "details": dict(measured.details)}
    clusters = [one.cluster for one in given]
    if measured.values is not None:
        entry["standard_error"] = standard_error(measured.values, clusters)
    if measured.values is not None and metric.bounded:
        bound = interval(measured.values, clusters)
    elif measured.values is not None or measured.weighted is not None:
        bound = bootstrap_interval(given, measured)
    else:
        return {**entry, "interval": None, "method": "none: the metric gives one value only"}
    entry["interval"], entry["method"] = [bound.low, bound.high], bound.method
    return entry


def data_fingerprint(examples: Sequence[Example]) -> str:
    """A hash of the ids and golds of a whole split, in its order."""
    digest = hashlib.sha256()
    for example in examples:
        gold = [example.fields.get("label"), [str(answer) for answer in example.fields.get("answers", ())]]
        digest.update(json.dumps([example.id, gold]).encode())
    return digest.hexdigest()


def _paper(planned: PlannedCell, entry: dict[str, Any]) -> dict[str, float]:
    """The paper's figures for this cell: of its own data, prompts and demonstrations only."""
    cell, benchmark = planned.cell, planned.cell.benchmark
    if entry["stand_in"]:
        return {}
    if benchmark.name not in KNOWN:  # of a user's own
        plain = entry["default_prompt"] and not cell.held_to_names
        return {m: figures[cell.shots] for m, figures in benchmark.paper.items() if plain and cell.shots in figures}
    prompt = None if entry["default_prompt"] else cell.prompt.name
    found = {
        metric: reported(benchmark.name, metric, shots=cell.shots, prompt=prompt, held_to_names=cell.held_to_names)
        for metric in benchmark.metrics
    }
    return {metric: one.value for metric, one in found.items() if one is not None}


def _majority(planned: PlannedCell, given: Sequence[Answered]) -> float | None:
    """What always saying the same would get: the commonest label's share; in free text the commonest answer's score.

    None for captions, where no answer is common.
    """
    benchmark = planned.cell.benchmark
    if not planned.cell.generates:
        labels = Counter(one.label for one in given if one.label is not None)
        return labels.most_common(1)[0][1] / len(given) if labels else None
    answers = Counter(answer for one in given for answer in one.answers)
    if benchmark.group == "captioning" or not benchmark.metrics or not answers:
        return None
    always = answers.most_common(1)[0][0]
    measured = set_metric(benchmark.metrics[0]).measure([replace(one, prediction=always) for one in given])
    return None if measured.not_run else measured.value


def _said(one: Answered) -> str:
    """The answer, or which option it was: texts of options differ from example to example."""
    return f"option {winner(one.scores)[0] + 1}" if one.scores else repr(one.prediction)


def _warnings(planned: PlannedCell, given: Sequence[Answered], entry: dict[str, Any]) -> list[str]:
    found: list[str] = []
    if planned.limit is not None and planned.limit < planned.num_examples:
        found.append(f"subset: the first {planned.limit} of {planned.num_examples} examples")
    if entry["n_broken"]:
        found.append(f"{entry['n_broken']} examples could not be read and are left out")
    if entry["stand_in"]:
        found.append("stand-ins, not the paper's items: this score says nothing of the paper's figure")
    if entry["n_expected"] != planned.num_examples:
        found.append(f"{planned.num_examples} examples, but the official split has {entry['n_expected']}")
    predictions = Counter(_said(one) for one in given)
    if len(given) > 1 and predictions.most_common(1)[0][1] >= 0.99 * len(given):
        found.append(f"nearly always the same answer: {predictions.most_common(1)[0][0][:60]}")
    if entry["ties"]:
        found.append(f"{entry['ties']} ties, counted by expectation")
    if entry["cut"]:
        found.append(f"{entry['cut']} prompts did not fit and lost words of their longest text")
    if entry["demonstrations_dropped"]:
        found.append(f"{entry['demonstrations_dropped']} demonstrations did not fit and were dropped")
    return found
