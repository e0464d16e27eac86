"""Print the report of a finished run again.

examples:
  kosmos report runs/demo
  kosmos report runs/demo --json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kosmos.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, or a folder of `kosmos evaluate --out`")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the table")


def run(args: argparse.Namespace) -> int:
    if not args.run.is_dir():
        raise UsageError(f"{args.run}: no such run directory")
    if args.json:
        from kosmos.evaluation.picturebook.report import load_report

        print(json.dumps(load_report(args.run), indent=2))
    else:
        from kosmos.evaluation.picturebook.report_terminal import print_report

        print_report(args.run)
    return 0
