"""The results of an evaluation as they lie on disk, and how their numbers are written."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.files import read_json
from kosmos.evaluation.metrics.answered import set_metric

SCHEMA_VERSION = 1
# CIDEr of a part of the pictures is another quantity, and is never called CIDEr.
SUBSET = "_subset"

METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1_macro": "mean F1",
    "cider": "CIDEr",
    "cider_subset": "captions of a subset, no CIDEr",
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "spice": "SPICE",
    "vqa_accuracy": "VQA accuracy",
    "web_em": "EM",
    "web_f1": "F1",
    "roc_auc": "ROC AUC",
    "exact_name": "top-1 by name",
    "category_name": "accuracy",
}
METHOD_NAMES = {
    "wilson": "Wilson",
    "wilson_clustered": "Wilson, clustered",
    "t": "Student's t",
    "t_clustered": "Student's t, clustered",
    "bootstrap": "bootstrap",
    "bootstrap_clustered": "bootstrap of clusters",
}


@dataclass(frozen=True)
class Results:
    """An output folder of `kosmos eval`: metrics.json, plan.json, samples."""

    folder: Path
    metrics: Mapping[str, Any]
    plan: Mapping[str, Any]

    @property
    def cells(self) -> Mapping[str, Mapping[str, Any]]:
        cells: Mapping[str, Mapping[str, Any]] = self.metrics["cells"]
        return cells

    def samples(self, cell: str) -> list[dict[str, Any]]:
        """The cell's examples in the order of the data, without their prompts, which may be long.

        Those of the cell asked for last are kept. Raises DataError when their file is missing or damaged.
        """
        if cell not in self._last:
            self._last.clear()
            self._last[cell] = [_without_prompts(sample) for sample in self._read(cell)]
        return self._last[cell]

    def whole_samples(self, cell: str, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Some of the cell's examples by id, with their prompts."""
        return {sample["id"]: sample for sample in self._read(cell) if sample["id"] in ids}

    def _read(self, cell: str) -> Iterator[dict[str, Any]]:
        path = self.folder / "samples" / f"{cell}.jsonl"
        try:
            with path.open(encoding="utf-8", newline="\n") as file:
                yield from map(json.loads, file)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot read the samples: {error}; `kosmos eval measure` writes them") from error

    @cached_property
    def _last(self) -> dict[str, list[dict[str, Any]]]:
        return {}

    @property
    def model(self) -> str:
        """How the model was named on the command line; "" when the plan does not say."""
        return str(self.plan.get("facts", {}).get("model", ""))


def _without_prompts(sample: dict[str, Any]) -> dict[str, Any]:
    sample.pop("prompts", None)
    return sample


def load_results(folder: Path) -> Results:
    """Raises UsageError for a folder without results, DataError for results of another version."""
    if not (folder / "metrics.json").is_file():
        hint = ": a run directory? its results are in " + str(folder / "eval") if (folder / "eval").is_dir() else ""
        raise UsageError(f"{folder}: no metrics.json here{hint}; `kosmos eval RUN --tasks ...` writes one")
    metrics, plan = read_json(folder / "metrics.json"), read_json(folder / "plan.json")
    for name, content in (("metrics.json", metrics), ("plan.json", plan)):
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            raise DataError(f"{folder / name}: not of version {SCHEMA_VERSION}; `kosmos eval measure` writes it again")
    return Results(folder, metrics, plan)


def base_metric(name: str) -> str:
    """The metric that a part's metric comes from: cider_subset -> cider."""
    return name.removesuffix(SUBSET)


def metric_name(name: str) -> str:
    """For people."""
    return METRIC_NAMES.get(name, name.replace("_", " "))


def scale(metric: str) -> float:
    """What a stored value is multiplied by before it is printed."""
    try:
        return 100.0 if set_metric(base_metric(metric)).percent else 1.0
    except UsageError:  # a metric of the user's, registered in the run and not here
        return 100.0


def number(value: float | None, metric: str) -> str:
    """`56.4`, or a dash."""
    return "–" if value is None else f"{value * scale(metric):.1f}"


def span(interval: Sequence[float] | None, metric: str) -> str:
    """`54.7 to 58.1`, or a dash."""
    if interval is None:
        return "–"
    return f"{interval[0] * scale(metric):.1f} to {interval[1] * scale(metric):.1f}"


def paper_figure(cell: Mapping[str, Any], metric: str) -> float | None:
    """The paper's figure for a metric of a cell, as printed."""
    found = cell["paper"].get(metric)
    return None if found is None else float(found)


def contains(interval: Sequence[float] | None, metric: str, figure: float | None) -> bool | None:
    """Whether the interval holds a printed figure, which is known to half its last digit; None without either."""
    if interval is None or figure is None:
        return None
    factor = scale(metric)
    return bool(interval[0] * factor - 0.05 <= figure <= interval[1] * factor + 0.05)
