"""Write the report page again from metrics and samples: report.md and report.html.

examples:
  kosmos eval report runs/mine/eval
  kosmos eval report runs/mine/eval --data eval-data

With --data, the worst and best samples come with small forms of their pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.user_modules import add_import_option, import_modules
from kosmos.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="an output folder of `kosmos eval`")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder per dataset in it, for the pictures")
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    from kosmos.evaluation.reporting.report_examples import examples_of
    from kosmos.evaluation.reporting.results import load_results
    from kosmos.evaluation.reporting.table1_report import write_table1_report

    if args.data is not None and not args.data.is_dir():
        raise UsageError(f"--data {args.data}: no such folder")
    results = load_results(args.folder)
    print(write_table1_report(results, examples_of(results, args.data)))
    return 0
