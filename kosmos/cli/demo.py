"""Train the small KOSMOS-1 of the picture book from scratch and print what it can do.

examples:
  kosmos demo
  kosmos demo --fresh
  kosmos demo --short
  kosmos demo --recipe long --out runs/long

Downloads seven packages of drawings and words by npm (25 MB, kept in a cache), pretrains a vision tower, trains the
model, evaluates it on a held-out artist and writes report.md, report.json and a contact sheet into the run directory.
A finished run is printed again at once; an unfinished one goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run directory (runs/demo, runs/demo-short or runs/demo-long)"
    )
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier demo left in DIR and start anew")
    parser.add_argument("--short", action="store_true", help="the whole path with tiny budgets: about a minute")
    parser.add_argument(
        "--recipe", choices=("default", "long"), default="default", help="long: about an hour of one core"
    )


def run(args: argparse.Namespace) -> int:
    if args.short and args.recipe == "long":
        raise UsageError("--short and --recipe long exclude each other")
    from kosmos.demo import run_demo

    run_demo(args.out, fresh=args.fresh, recipe="short" if args.short else args.recipe)
    return 0
