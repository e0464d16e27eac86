"""The table of an evaluation on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from kosmos.evaluation.reporting.report_warnings import gathered, not_run_line
from kosmos.evaluation.reporting.results import metric_name, number, paper_figure, span


def print_table(metrics: Mapping[str, Any], console: Console | None = None) -> None:
    """One line a cell: the first metric in per cent with its 95 % interval, n, chance, and the paper's figure."""
    console = console or Console()
    table = Table(box=None, pad_edge=False)
    for title in ("dataset", "shots", "metric", "score", "95 % interval", "n", "chance", "paper"):
        table.add_column(title, justify="left" if title in ("dataset", "metric", "95 % interval") else "right")
    notes: list[tuple[str, str]] = []
    for name, cell in metrics["cells"].items():
        for place, (metric, entry) in enumerate(cell["metrics"].items()):
            paper = paper_figure(cell, metric)
            table.add_row(
                label(cell) if place == 0 else "",
                str(cell["shots"]) if place == 0 else "",
                metric_name(metric),
                "not run" if entry["value"] is None else number(entry["value"], metric),
                span(entry.get("interval"), metric),
                str(cell["n"]) if place == 0 else "",
                number(cell["chance"], metric) if place == 0 else "",
                "" if paper is None else f"{paper:.1f}",
            )
            if entry["value"] is None:
                notes.append((name, not_run_line(metric, entry["not_run"])))
        notes += [(name, warning) for warning in cell["warnings"]]
    console.print(table)
    for note in gathered(notes):
        console.print(note, style="yellow", highlight=False, markup=False, soft_wrap=True)


def label(cell: Mapping[str, Any]) -> str:
    """The row's name: the dataset, and what is not the default about it."""
    extra = [] if cell["default_prompt"] else [cell["prompt"]]
    if cell["held_to_names"]:
        extra.append("held to the names")
    if cell["seed"]:
        extra.append(f"seed {cell['seed']}")
    return f"{cell['title']} ({', '.join(extra)})" if extra else str(cell["title"])
