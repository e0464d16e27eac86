"""The counts that a pipeline's steps left behind, added up over tasks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kosmos.data.web.executors import Stage
from kosmos.errors import StorageError


@dataclass
class StepCounts:
    """The counts of one step of one stage."""

    stage: str
    step: str
    counts: Counter[str] = field(default_factory=Counter)


def read_counts(work: Path, stages: list[Stage]) -> list[StepCounts]:
    """Counts of all steps in their order. Raises StorageError when a task has left none."""
    return [entry for stage in stages for entry in _stage_counts(work, stage)]


def _stage_counts(work: Path, stage: Stage) -> list[StepCounts]:
    entries = [StepCounts(stage.name, step.name) for step in stage.steps]
    for task in range(stage.tasks):
        path = work / stage.name / "stats" / f"{task:05d}.json"
        try:
            steps = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StorageError(f"{path}: the counts of a task are missing; remove the folder and start anew") from error
        for entry, step in zip(entries, steps, strict=True):
            for label, value in step["stats"].items():
                entry.counts[label] += round(value["total"] if isinstance(value, dict) else value)
    return entries
