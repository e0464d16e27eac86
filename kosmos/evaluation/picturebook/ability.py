"""An ability: a task's score beside chance, the blank-image score and the cheap baselines, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kosmos.evaluation.picturebook.baselines import BaselineResult, strongest
from kosmos.evaluation.picturebook.runner import TaskResult
from kosmos.evaluation.statistics.intervals import above, interval, mean
from kosmos.evaluation.task import Task

_PARTS = {"seen": False, "unseen": True}


@dataclass(frozen=True)
class Ability:
    """One row of the report. `blank` is None where no picture is asked about."""

    task: Task
    result: TaskResult
    blank: TaskResult | None
    baselines: tuple[BaselineResult, ...]
    chance: float

    @property
    def strongest_baseline(self) -> BaselineResult | None:
        return strongest(self.baselines)

    @property
    def beats_chance(self) -> bool:
        """The whole interval lies above chance."""
        return self.result.interval.low > self.chance

    @property
    def beats_blank(self) -> bool | None:
        """The whole interval lies above the blank-image score's."""
        return None if self.blank is None else above(self.result.interval, self.blank.interval)

    @property
    def beats_baseline(self) -> bool | None:
        """The whole interval lies above the strongest cheap baseline's."""
        best = self.strongest_baseline
        return None if best is None else above(self.result.interval, best.interval)

    @property
    def learned(self) -> bool:
        """Above chance, and above what the same weights score without seeing, with disjoint intervals."""
        return self.beats_chance and self.beats_blank is not False

    @property
    def _novelty(self) -> str | None:
        """The `meta` key that tells items with something unseen in training from the others: `unseen_...`."""
        examples = self.task.examples()[: self.result.n]
        return next((key for example in examples for key in example.meta if key.startswith("unseen_")), None)

    def splits(self) -> dict[str, Any] | None:
        """Figures of the items whose word, pair or count training has shown, and of those that it has not.

        None when no item, or only one kind of them, is marked. Unmarked items are in neither.
        """
        key = self._novelty
        if key is None:
            return None
        marked = [
            (bool(example.meta[key]), value, example.cluster)
            for example, value in zip(self.task.examples(), self.result.values)
            if key in example.meta
        ]
        if len({unseen for unseen, _, _ in marked}) < 2:
            return None
        parts = {name: [item for item in marked if item[0] is unseen] for name, unseen in _PARTS.items()}
        return {name: _part([v for _, v, _ in part], [c for _, _, c in part]) for name, part in parts.items()}

    def row(self) -> dict[str, Any]:
        """The row of report.json; plain values only."""
        task, result, best = self.task, self.result, self.strongest_baseline
        return {
            "name": task.name,
            "title": task.label,
            "n": result.n,
            "score": result.score,
            "interval": [result.interval.low, result.interval.high],
            "interval_method": result.interval.method,
            "metric": task.metric,
            "mode": task.mode,
            "normalization": None if task.mode == "generate" else task.normalization,
            "chance": self.chance,
            "blank_image": None if self.blank is None else _score(self.blank),
            "baselines": [{"name": baseline.name, **_score(baseline)} for baseline in self.baselines],
            "strongest_baseline": None if best is None else best.name,
            "beats_chance": self.beats_chance,
            "beats_blank": self.beats_blank,
            "beats_baseline": self.beats_baseline,
            "learned": "learned" if self.learned else "not learned",
            "expects_chance": task.expects_chance,
            "constant_answer": result.constant_answer,
            "num_ties": result.num_ties,
            "splits_by": self._novelty,
            "splits": self.splits(),
            "note": task.note,
            "reference": task.reference,
            "data_fingerprint": result.data_fingerprint,
        }


def _part(values: list[float], clusters: list[str]) -> dict[str, Any]:
    bound = interval(values, clusters)
    return {"n": len(values), "score": mean(values), "interval": [bound.low, bound.high]}


def _score(result: TaskResult | BaselineResult) -> dict[str, Any]:
    return {"score": result.score, "interval": [result.interval.low, result.interval.high]}
