"""Measures of a cell: its metrics with intervals, and the warnings that a reader of the number needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from kosmos.evaluation.plan import PlannedCell
from kosmos.evaluation.samples import Answered, Measured, set_metric
from kosmos.evaluation.sampling import NORMALIZATIONS, answered, winner
from kosmos.evaluation.statistics import interval, standard_error


def measure_cell(planned: PlannedCell, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One entry of metrics.json."""
    cell, benchmark = planned.cell, planned.cell.benchmark
    whole = [sample for sample in samples if "broken" not in sample]
    fields = {example.id: example.fields for example in planned.examples}
    given = [answered(sample, cell.prompt.normalization, fields[sample["id"]]) for sample in whole]
    expected = benchmark.num_examples.get(benchmark.split)
    entry: dict[str, Any] = {
        **cell.settings,
        "title": benchmark.title,
        "n": len(whole),
        "n_expected": expected if expected is not None else planned.num_examples,
        "n_broken": len(samples) - len(whole),
        "limit": planned.limit,
        "normalization": None if cell.generates else cell.prompt.normalization,
        "chance": benchmark.chance,
        "metrics": {},
        "demonstrations_dropped": sum(sample["demonstrations_dropped"] for sample in whole),
        "ties": sum(sample.get("ties", 1) > 1 for sample in whole),
    }
    if whole:
        for name in benchmark.metrics:
            entry["metrics"][name] = metric_entry(name, given)
        if not cell.generates and "accuracy" in benchmark.metrics:
            entry["by_normalization"] = {
                way: metric_entry("accuracy", [answered(s, way, fields[s["id"]]) for s in whole])["value"]
                for way in NORMALIZATIONS
            }
        reference = {
            metric: figures[cell.shots] for metric, figures in benchmark.paper.items() if cell.shots in figures
        }
        entry["paper"] = reference
        entry["majority"] = _majority(given)
    entry["warnings"] = _warnings(planned, given, entry)
    return entry


def metric_entry(name: str, given: Sequence[Answered]) -> dict[str, Any]:
    """Value, standard error and 95 % interval of one metric."""
    metric = set_metric(name)
    measured = metric.measure(given)
    entry: dict[str, Any] = {"value": measured.value, "details": dict(measured.details)}
    if measured.values is not None:
        clusters = [one.cluster for one in given]
        entry["standard_error"] = standard_error(measured.values, clusters)
        entry["interval"], entry["method"] = _interval(measured, clusters)
    else:
        entry["interval"], entry["method"] = _bootstrapped(name, given)
    return entry


def _interval(measured: Measured, clusters: Sequence[str]) -> tuple[list[float], str]:
    values = measured.values or ()
    if all(0.0 <= value <= 1.0 for value in values):
        bound = interval(values, clusters)
        return [bound.low, bound.high], bound.method
    error = standard_error(values, clusters)
    return [measured.value - 1.96 * error, measured.value + 1.96 * error], "normal"


def _bootstrapped(name: str, given: Sequence[Answered]) -> tuple[list[float], str]:
    from kosmos.evaluation.bootstrap import bootstrap_interval

    bound = bootstrap_interval(lambda chosen: set_metric(name).measure(chosen).value, given)
    return [bound.low, bound.high], bound.method


def _majority(given: Sequence[Answered]) -> float | None:
    """Share of the commonest label: what always saying the same would get."""
    labels = Counter(one.label for one in given if one.label is not None)
    return labels.most_common(1)[0][1] / len(given) if labels and given else None


def _said(one: Answered) -> str:
    """The answer, or which option it was: texts of options differ from example to example."""
    return f"option {winner(one.scores)[0] + 1}" if one.scores else repr(one.prediction)


def _warnings(planned: PlannedCell, given: Sequence[Answered], entry: dict[str, Any]) -> list[str]:
    found: list[str] = []
    if planned.limit is not None and planned.limit < planned.num_examples:
        found.append(f"subset: the first {planned.limit} of {planned.num_examples} examples")
    if entry["n_broken"]:
        found.append(f"{entry['n_broken']} examples could not be read and are left out")
    if entry["n_expected"] != planned.num_examples:
        found.append(f"{planned.num_examples} examples, but the official split has {entry['n_expected']}")
    predictions = Counter(_said(one) for one in given)
    if len(given) > 1 and predictions.most_common(1)[0][1] >= 0.99 * len(given):
        found.append(f"nearly always the same answer: {predictions.most_common(1)[0][0][:60]}")
    if entry["ties"]:
        found.append(f"{entry['ties']} ties, counted by expectation")
    if entry["demonstrations_dropped"]:
        found.append(f"{entry['demonstrations_dropped']} demonstrations did not fit and were dropped")
    return found
