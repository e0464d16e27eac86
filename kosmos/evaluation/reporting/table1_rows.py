"""Scores of the report: one metric of one dataset at one number of demonstrations, over its seeds and prompts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kosmos.errors import UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured, set_metric
from kosmos.evaluation.reporting.results import METHOD_NAMES, Results, base_metric, paper_figure
from kosmos.evaluation.statistics.bootstrap import bootstrap_interval
from kosmos.evaluation.statistics.intervals import interval, mean

# `valm.1`, `valm.2`, ...: one score is the mean over all of them.
_NUMBERED = re.compile(r"(.+)\.\d+")


@dataclass(frozen=True)
class Score:
    """A number of the report, from one cell or the mean over several (seeds, numbered prompts).

    deviation  standard deviation over the cells; None for one
    not_run    why there is no value
    """

    cells: tuple[str, ...]
    entry: Mapping[str, Any]
    family: str
    metric: str
    value: float | None
    interval: tuple[float, float] | None
    method: str
    deviation: float | None = None
    not_run: str = ""

    @property
    def is_first(self) -> bool:
        """Whether it is the dataset's first metric, which chance is told for."""
        return next(iter(self.entry["metrics"])) == self.metric

    @property
    def paper(self) -> float | None:
        """The paper's figure, which a part's CIDEr is never set beside."""
        return paper_figure(self.entry, self.metric)

    @property
    def label(self) -> str:
        """The dataset, and what is not the default about it."""
        extra = [] if self.entry["default_prompt"] else [self.family]
        if self.entry["held_to_names"]:
            extra.append("held to the names")
        return f"{self.entry['title']} ({', '.join(extra)})" if extra else str(self.entry["title"])

    @property
    def key(self) -> tuple[str, str, bool]:
        """What is the same at every number of demonstrations."""
        return str(self.entry["benchmark"]), self.family, bool(self.entry["held_to_names"])


def family_of(prompt: str) -> str:
    """The name that numbered prompts share, else the prompt's own."""
    found = _NUMBERED.fullmatch(prompt)
    return found.group(1) if found else prompt


def scores_of(results: Results) -> list[Score]:
    """All scores, in the order of the cells."""
    together: dict[tuple[Any, ...], list[str]] = {}
    for name, entry in results.cells.items():
        key = (entry["benchmark"], family_of(entry["prompt"]), entry["held_to_names"], entry["shots"])
        together.setdefault(key, []).append(name)
    made: list[Score] = []
    for (_, family, _, _), names in together.items():
        entries = [results.cells[name] for name in names]
        for metric in entries[0]["metrics"]:
            if all(metric in entry["metrics"] for entry in entries):
                made.append(_score(results, tuple(names), family, metric))
    return made


def _score(results: Results, names: tuple[str, ...], family: str, metric: str) -> Score:
    entries = [results.cells[name] for name in names]
    found = [entry["metrics"][metric] for entry in entries]
    values = [one["value"] for one in found]
    if any(value is None for value in values):
        reason = next(one["not_run"] for one in found if one["value"] is None)
        return Score(names, entries[0], family, metric, None, None, "", not_run=reason)
    if len(names) == 1:
        bound = found[0].get("interval")
        method = METHOD_NAMES.get(found[0]["method"], str(found[0]["method"]))
        return Score(names, entries[0], family, metric, values[0], tuple(bound) if bound else None, method)
    middle = mean(values)
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))
    span, method = _of_means([_item_values(results.samples(name), metric) for name in names], metric)
    return Score(names, entries[0], family, metric, middle, span, method, deviation)


def _item_values(samples: Sequence[Mapping[str, Any]], metric: str) -> dict[str, tuple[float, str]]:
    """Value and cluster of each item that has one, by id."""
    return {s["id"]: (s["values"][metric], str(s["cluster"])) for s in samples if metric in s.get("values", {})}


def _of_means(runs: Sequence[Mapping[str, tuple[float, str]]], metric: str) -> tuple[tuple[float, float] | None, str]:
    """The interval of the mean over several cells: of each item's mean over them, since the items are the same."""
    ids = [key for key in runs[0] if all(key in run for run in runs)]
    if not ids or any(len(run) != len(ids) for run in runs):
        return None, f"none: the mean of {len(runs)}"
    means = [mean([run[key][0] for run in runs]) for key in ids]
    clusters = [runs[0][key][1] for key in ids]
    if _is_bounded(metric):
        bound = interval(means, clusters)
    else:
        given = [Answered(key, "", cluster=cluster) for key, cluster in zip(ids, clusters)]
        bound = bootstrap_interval(given, Measured(mean(means), tuple(means)))
    return (bound.low, bound.high), f"{METHOD_NAMES.get(bound.method, bound.method)}, of items' means"


def _is_bounded(metric: str) -> bool:
    try:
        return set_metric(base_metric(metric)).bounded
    except UsageError:  # registered by the user's module, which is not loaded here
        return False
