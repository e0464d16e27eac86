"""List the datasets with their splits, shots, prompts and metrics.

examples:
  kosmos eval list
  kosmos eval list --files
  kosmos eval list --json
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from kosmos.cli.user_modules import add_import_option, import_modules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", action="store_true", help="where the files come from, in the metrics' place")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    from kosmos.cli.tables import print_table

    datasets = described()
    if args.json:
        print(json.dumps(datasets, indent=2, ensure_ascii=False))
        return 0
    if args.files:
        rows = [[one["name"], one["title"], one["url"] + " (gated)" * one["gated"], one["hub"]] for one in datasets]
        print_table(("name", "dataset", "files", "hub"), rows)
        return 0
    headings = ("name", "dataset", "split", "n", "shots", "prompts", "metrics")
    rows = [
        [
            one["name"],
            one["title"],
            one["split"],
            "" if one["n"] is None else f"{one['n']:,}",
            ",".join(map(str, one["shots"])),
            ", ".join(_families(one["prompts"])),
            ", ".join(one["metrics"]) or "the server's",
        ]
        for one in datasets
    ]
    print_table(headings, rows)
    print("The first prompt is the default. `kosmos eval prepare NAME` says how to get a dataset's files.")
    return 0


def described() -> list[dict[str, Any]]:
    """One record a dataset, in the order of Table 1."""
    from kosmos.evaluation.tasks.table1 import BENCHMARKS

    return [
        {
            "name": benchmark.name,
            "title": benchmark.title,
            "group": benchmark.group,
            "table": benchmark.table,
            "split": benchmark.split,
            "n": benchmark.num_examples.get(benchmark.split),
            "shots": list(benchmark.shots),
            "prompts": [prompt.name for prompt in benchmark.prompts],
            "metrics": list(benchmark.metrics),
            "chance": benchmark.chance,
            "paper": {metric: dict(figures) for metric, figures in benchmark.paper.items()},
            "url": benchmark.source.url,
            "hub": benchmark.source.hub,
            "gated": benchmark.source.gated,
            "licence": benchmark.source.licence,
            "note": benchmark.note,
        }
        for benchmark in BENCHMARKS.values()
    ]


def _families(prompts: list[str]) -> list[str]:
    """`valm.1` to `valm.9` are one prompt to the command line."""
    from kosmos.evaluation.reporting.table1_rows import family_of

    return list(dict.fromkeys(family_of(prompt) for prompt in prompts))
