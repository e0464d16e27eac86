"""Compare two evaluations on the items that both have.

examples:
  kosmos eval compare runs/a/eval runs/b/eval
  kosmos eval compare runs/a/eval runs/b/eval --all-metrics --json

Tests are paired: McNemar's exact test for right and wrong, a paired bootstrap for everything else and where items share
a picture or a passage. `corrected p` is Holm's over all lines. Different data (ids, right answers, pictures) are
refused.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, metavar="A", help="an output folder of `kosmos eval`")
    parser.add_argument("after", type=Path, metavar="B", help="another one; differences are B - A")
    parser.add_argument("--all-metrics", action="store_true", help="every metric of a dataset, not its first alone")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    from kosmos.cli.tables import print_table
    from kosmos.evaluation.comparisons.compare import compare
    from kosmos.evaluation.reporting.results import load_results, metric_name, number, span

    before, after = load_results(args.before), load_results(args.after)
    compared = compare(before, after, args.all_metrics)
    alone = [
        [name for name in one.cells if name not in other.cells] for one, other in ((before, after), (after, before))
    ]
    if args.json:
        content = {
            "a": str(args.before),
            "b": str(args.after),
            "compared": [line.row() for line in compared],
            "only_in_a": alone[0],
            "only_in_b": alone[1],
        }
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return 0
    headings = ("cell", "metric", "n", "A", "B", "B - A", "95 % interval", "p", "corrected p", "test")
    rows = []
    for line in compared:
        test, metric = line.result, line.metric
        rows.append(
            [
                line.cell,
                metric_name(metric),
                str(test.n),
                number(test.before, metric),
                number(test.after, metric),
                signed(number(test.difference, metric)),
                span(test.interval, metric),
                p_value(test.p),
                p_value(line.corrected_p),
                test.test,
            ]
        )
    print_table(headings, rows)
    for line in compared:
        for note in line.notes:
            print(f"{line.cell}: {note}")
    for letter, names in zip("AB", alone):
        if names:
            print(f"only in {letter}: {', '.join(names)}")
    return 0


def signed(number: str) -> str:
    """`+1.2` for a rise; a fall has its sign already."""
    if number in ("0.0", "-0.0"):
        return "0.0"
    return number if number.startswith("-") else f"+{number}"


def p_value(p: float) -> str:
    """Three digits; smaller than that is said so."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
