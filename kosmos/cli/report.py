"""Print the report of a finished run again.

examples:
  kosmos report runs/demo
  kosmos report runs/demo --json | python -m json.tool
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the text")


def run(args: argparse.Namespace) -> int:
    file = args.run / ("report.json" if args.json else "report.md")
    if not args.run.is_dir():
        raise DataError(f"{args.run}: no such run directory")
    if not file.is_file():
        raise DataError(f"{args.run}: no report yet; make one with `kosmos evaluate {args.run}`")
    print(file.read_text(encoding="utf-8").rstrip("\n"))
    return 0
