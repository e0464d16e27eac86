"""The report on a terminal."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kosmos.evaluation.picturebook.report import CONTACT_SHEET, LOSS_CURVE, REPORT_MD, load_report
from kosmos.evaluation.picturebook.verdict import NOVELTIES, baseline_cell, interval_cell, percent, verdict

_STYLES = {"learned": "bold green", "partly": "yellow", "not_learned": "red", "control": "dim"}
_BAR_WIDTH = 12
# Columns from which the full table fits.
WIDE = 140
# A file or a pipe has no edge: each row is one line there.
_PIPE_WIDTH = 240
# Where names of abilities would get less room than this, these columns go, in this order.
_ROOM_FOR_NAMES = 18
_SPARE = ("95 %", "Chance", "Baseline")
_WIDE_HEADINGS = ["Ability", "n", "", "Score", "95 % interval", "Chance", "Blank", "Best cheap baseline", "Verdict"]
_NARROW_HEADINGS = ["Ability", "Score", "95 %", "Chance", "Blank", "Baseline", "Verdict"]


class _Pipe(Console):
    """Leaves it to the command to say nothing when the reader, such as `head`, has enough; rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_report(run: Path, console: Console | None = None) -> None:
    """Print the finished report of `run`: the table of abilities, and where to look further.

    Raises DataError when the run has no report.
    """
    report = load_report(run)
    console = console or (Console() if sys.stdout.isatty() else _Pipe(width=_PIPE_WIDTH))
    console.print(_table(report, console.width))
    facts = report["run"]
    parameters = facts["parameters"].get("total", sum(facts["parameters"].values()))
    console.print(
        Text(f"{parameters:,} parameters, {facts['steps']:,} steps, {facts['precision']}, seed {facts['seed']}", "dim")
    )
    for warning in report["warnings"]:
        console.print(Text(f"note: {warning}", "dim"))
    for row in report["abilities"]:
        if row.get("splits"):
            console.print(Text(_split_note(row), "dim"))
    for name in (REPORT_MD, CONTACT_SHEET, LOSS_CURVE):
        if (run / name).exists():
            console.print(Text(str(run / name)), soft_wrap=True)
    for number, (command, words) in enumerate(report.get("next_steps", ())):
        if not number:
            console.print(Text("\nTry next:", "bold"))
            if activate := _activation():
                console.print(Text.assemble(("# have `kosmos` found in this shell\n", "dim"), activate), soft_wrap=True)
        console.print(Text.assemble((f"# {words}\n", "dim"), command.replace("RUN", str(run))), soft_wrap=True)


def _activation() -> str:
    """What puts the command on the PATH, where it is not there but in an environment such as the Makefile's."""
    script = Path(sys.executable).parent / "activate"
    if shutil.which("kosmos") or not script.is_file():
        return ""
    here = Path.cwd()
    return f"source {script.relative_to(here) if here in script.parents else script}"


def _split_note(row: dict[str, Any]) -> str:
    """One line: the score where training has shown the item's word, pair or count, and where it has not."""
    seen, unseen = (row["splits"][part] for part in ("seen", "unseen"))
    what = NOVELTIES.get(row["splits_by"], row["splits_by"])
    figures = f"{percent(seen['score'])} seen in training (n {seen['n']}), {percent(unseen['score'])} unseen"
    return f"note: {row['title']}, by {what}: {figures} (n {unseen['n']})"


def _table(report: dict[str, Any], width: int) -> Table:
    """The full table, or where there is no room for it one without bars and names; still less room takes columns away.

    The name of an ability is folded into several lines, never cut: rows are told apart by it.
    """
    wide = width >= WIDE
    headings = _WIDE_HEADINGS if wide else list(_NARROW_HEADINGS)
    rows = [_cells(row, wide) for row in report["abilities"]]
    gap = 2 if width >= 100 else 1
    spare = [] if wide else list(_SPARE)
    while True:
        widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
        room = width - 4 - sum(widths[1:]) - (gap + 1) * (len(widths) - 1)
        if room >= min(widths[0], _ROOM_FOR_NAMES) or not spare:
            break
        gone = headings.index(spare.pop(0))
        headings, *rows = [[*cells[:gone], *cells[gone + 1 :]] for cells in [headings, *rows]]
    widths[0] = max(8, min(widths[0], room))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for heading, column_width in zip(headings, widths):
        right = heading in ("n", "Score", "Chance", "Blank")
        name = heading == "Ability"
        grid.add_column(
            heading,
            justify="right" if right else "left",
            width=column_width,
            no_wrap=not name,
            overflow="fold" if name else "ellipsis",
        )
    for row, cells in zip(report["abilities"], rows):
        style = _STYLES[verdict(row).kind]
        styles = {"": style, "Verdict": style, "Score": "bold", "95 %": "dim", "95 % interval": "dim"}
        grid.add_row(*(Text(cell, styles.get(heading, "")) for heading, cell in zip(headings, cells)))
    return grid


def _cells(row: dict[str, Any], wide: bool) -> list[str]:
    judged, bounds, baseline = verdict(row), interval_cell(row["interval"]), baseline_cell(row)
    blank = "–" if row["blank_image"] is None else percent(row["blank_image"]["score"])
    figures = [percent(row["chance"]), blank]
    score = percent(row["score"])
    if wide:
        return [row["title"], str(row["n"]), _bar(row["score"]), score, bounds, *figures, baseline, judged.text]
    return [row["title"], score, bounds.replace(" ", ""), *figures, baseline.split(" ")[0], judged.short]


def _bar(score: float) -> str:
    """A bar of eighths of a character."""
    eighths = round(score * _BAR_WIDTH * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(_BAR_WIDTH, "·")
