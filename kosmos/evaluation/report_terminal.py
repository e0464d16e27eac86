"""The report on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kosmos.evaluation.report import CONTACT_SHEET, LOSS_CURVE, REPORT_MD, load_report
from kosmos.evaluation.verdict import baseline_cell, interval_cell, percent, verdict

_STYLES = {"learned": "bold green", "partly": "yellow", "not_learned": "red", "control": "dim"}
_BAR_WIDTH = 12
# Columns from which the full table fits.
WIDE = 140


def print_report(run: Path, console: Console | None = None) -> None:
    """Print the finished report of `run`: the table of abilities, and where to look further.

    Raises DataError when the run has no report.
    """
    report = load_report(run)
    console = console or Console()
    console.print(_table(report, wide=console.width >= WIDE))
    facts = report["run"]
    parameters = facts["parameters"].get("total", sum(facts["parameters"].values()))
    console.print(
        Text(f"{parameters:,} parameters, {facts['steps']:,} steps, {facts['precision']}, seed {facts['seed']}", "dim")
    )
    for warning in report["warnings"]:
        console.print(Text(f"note: {warning}", "dim"))
    for name in (REPORT_MD, CONTACT_SHEET, LOSS_CURVE):
        if (run / name).exists():
            console.print(Text(str(run / name)), soft_wrap=True)


def _table(report: dict[str, Any], wide: bool) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    grid.add_column("Ability", no_wrap=True, overflow="ellipsis", max_width=34 if wide else 20)
    if wide:
        grid.add_column("n", justify="right", no_wrap=True)
        grid.add_column("", no_wrap=True)
    grid.add_column("Score", justify="right", no_wrap=True)
    grid.add_column("95 % interval" if wide else "95 %", justify="center", no_wrap=True)
    grid.add_column("Chance", justify="right", no_wrap=True)
    grid.add_column("Blank", justify="right", no_wrap=True)
    grid.add_column("Best cheap baseline" if wide else "Baseline", no_wrap=True, overflow="ellipsis", max_width=32)
    grid.add_column("Verdict", no_wrap=True, overflow="ellipsis")
    for row in report["abilities"]:
        judged = verdict(row)
        style = _STYLES[judged.kind]
        blank = "–" if row["blank_image"] is None else percent(row["blank_image"]["score"])
        bounds, baseline, words = interval_cell(row["interval"]), baseline_cell(row), judged.text
        if not wide:
            bounds, baseline, words = bounds.replace(" ", ""), baseline.split(" ")[0], judged.short
        cells: list[str | Text] = [row["title"]]
        if wide:
            cells += [str(row["n"]), Text(_bar(row["score"]), style)]
        cells += [Text(percent(row["score"]), "bold"), Text(bounds, "dim"), percent(row["chance"]), blank, baseline]
        cells.append(Text(words, style))
        grid.add_row(*cells)
    return grid


def _bar(score: float) -> str:
    """A bar of eighths of a character."""
    eighths = round(score * _BAR_WIDTH * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(_BAR_WIDTH, "·")
