"""The paper's comparisons of a KOSMOS model with its language-only twin, and with itself after instruction tuning.

examples:
  kosmos eval tables runs/kosmos/eval runs/llm/eval
  kosmos eval tables runs/kosmos/eval runs/llm/eval --tuned runs/tuned/eval --json

Tables 8, 9, 10, 12, 13, 14 and 16 of the paper, from output folders of `kosmos eval`: each number with its 95 %
interval, n and the paper's figure; differences with a paired test where the items are the same. What was not run is
shown as such, with the command that runs it into the same folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos.cli.user_modules import add_import_option, import_modules

if TYPE_CHECKING:
    from kosmos.evaluation.comparisons.tables import Line, Number, PaperComparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kosmos", type=Path, metavar="KOSMOS", help="the multimodal model's output folder")
    parser.add_argument("llm", type=Path, metavar="LLM", help="that of the model trained on the same text alone")
    parser.add_argument(
        "--tuned", type=Path, metavar="DIR", help="that of the multimodal model after instruction tuning"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    from kosmos.evaluation.comparisons.tables import Comparisons
    from kosmos.evaluation.reporting.results import load_results

    folders = {"base": args.kosmos, "llm": args.llm, **({"tuned": args.tuned} if args.tuned else {})}
    tables = Comparisons({name: load_results(folder) for name, folder in folders.items()}).all()
    if args.json:
        print(json.dumps([table.to_json() for table in tables], indent=2, ensure_ascii=False))
        return 0
    missing: dict[str, None] = {}
    for table in tables:
        _print(table)
        missing.update(dict.fromkeys(n.command for line in table.lines for n in line.numbers if n and n.command))
    if missing:
        print("To run what was not run:")
        for command in missing:
            print(f"  {command}")
    return 0


def _print(table: PaperComparison) -> None:
    from kosmos.cli.tables import print_table

    headings = ["", *(part for column in table.columns for part in (column, "n", "paper")), "difference", "p"]
    print_table(headings, [_row(line) for line in table.lines], f"Table {table.number}: {table.title}")
    for note in (*(f"{line.label}: {line.note}" for line in table.lines if line.note), table.note):
        if note:
            print(note)
    print()


def _row(line: Line) -> list[str]:
    from kosmos.cli.eval.compare import p_value, signed
    from kosmos.evaluation.reporting.results import number, span

    cells = [line.label]
    metric = ""
    for one in line.numbers:
        cells += _number(one)
        metric = one.metric if one and one.metric else metric
    if line.test is None:
        return [*cells, "", ""]
    difference = f"{signed(number(line.test.difference, metric))} [{span(line.test.interval, metric)}]"
    return [*cells, difference, p_value(line.test.p)]


def _number(one: Number | None) -> list[str]:
    from kosmos.evaluation.reporting.results import SUBSET, number, span

    if one is None:
        return ["", "", ""]
    paper = "" if one.place.paper is None else f"{one.place.paper:.1f}"
    if one.value is None:
        return ["not run", "", paper]
    text = number(one.value, one.metric)
    text += f" [{span(one.interval, one.metric)}]" if one.interval else ""
    # A part's CIDEr is another quantity than the paper's.
    return [f"{text} (subset)", str(one.n), ""] if one.metric.endswith(SUBSET) else [text, str(one.n), paper]
