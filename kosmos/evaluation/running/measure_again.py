"""Samples and metrics again, from the responses on disk: no model is needed, only the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kosmos.document import Document
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.files import read_json
from kosmos.evaluation.running.benchmark_runner import SCHEMA_VERSION, RunSettings, measure
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.plan import make_plan
from kosmos.evaluation.tasks.table1 import get_benchmark


def measure_again(out: Path, data: Path) -> dict[str, Any]:
    """Rebuild the plan of `out` from its plan.json and the datasets below `data`, and measure; metrics.json's content.

    Raises UsageError for a folder without a plan and for missing responses, DataError for data that have changed.
    """
    path = out / "plan.json"
    if not path.is_file():
        raise UsageError(f"{out}: no plan.json here; `kosmos eval RUN --tasks ...` writes one")
    held = read_json(path)
    if held.get("schema_version") != SCHEMA_VERSION or "facts" not in held:
        raise DataError(f"{path}: not of version {SCHEMA_VERSION}; evaluate again")
    by_limit: dict[int | None, list[tuple[Cell, Mapping[str, Any]]]] = {}
    for values in held["cells"]:
        by_limit.setdefault(values["limit"], []).append((cell_of(values), values))
    settings = RunSettings(out, held["model_key"])
    metrics: dict[str, Any] = {}
    for limit, pairs in by_limit.items():
        cells = [cell for cell, _ in pairs]
        plan = make_plan(cells, _folder_in(data), _fits, held["facts"]["latents"], limit)
        _check_sizes(path, [len(planned.examples) for planned in plan.cells], [values for _, values in pairs])
        metrics = measure(plan, settings)
    return metrics


def cell_of(values: Mapping[str, Any]) -> Cell:
    """A cell from its entry in plan.json."""
    benchmark = get_benchmark(values["benchmark"])
    return Cell(benchmark, benchmark.prompt(values["prompt"]), values["shots"], values["seed"], values["held_to_names"])


def _folder_in(data: Path) -> Any:
    def folder(benchmark: Benchmark) -> Path:
        return data / (benchmark.folder or benchmark.name)

    return folder


def _check_sizes(path: Path, sizes: Sequence[int], cells: Sequence[Mapping[str, Any]]) -> None:
    for size, values in zip(sizes, cells):
        if size != values["examples"]:
            raise DataError(
                f"{path}: {values['name']} was asked of {values['examples']} examples, and the data now have {size}"
            )


def _fits(document: Document, answers: Sequence[str]) -> bool:
    return True  # what was dropped is in the responses
