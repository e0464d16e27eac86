"""The examples behind the samples on disk: from the evaluation's plan, or read again from the data folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kosmos.errors import DataError
from kosmos.evaluation.reporting.report_samples import Examples
from kosmos.evaluation.reporting.results import Results
from kosmos.evaluation.running.plan import Plan
from kosmos.evaluation.tasks.table1 import BENCHMARKS
from kosmos.example import Example


def examples_of(results: Results, data: Path | None, plan: Plan | None = None) -> Examples:
    """Cell -> its examples by id; nothing for a dataset that is not below `data`, or not of this project."""
    planned = {one.cell.name: one for one in plan.cells} if plan is not None else {}
    read: dict[str, Mapping[str, Example]] = {}

    def by_id(cell: str) -> Mapping[str, Example]:
        if cell in planned:
            return {example.id: example for example in planned[cell].examples}
        name = str(results.cells[cell]["benchmark"])
        if name not in read:
            read[name] = _read(name, data)
        return read[name]

    return by_id


def _read(name: str, data: Path | None) -> Mapping[str, Example]:
    benchmark = BENCHMARKS.get(name)
    if benchmark is None or data is None:
        return {}
    folder = data / (benchmark.folder or benchmark.name)
    if not folder.is_dir():
        return {}
    try:
        return {example.id: example for example in benchmark.read(folder, benchmark.split)}
    except DataError:  # the files have changed since: the samples are shown without them
        return {}
