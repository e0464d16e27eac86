"""Compute samples and metrics again from the responses on disk, and write the report: no model is needed.

examples:
  kosmos eval measure runs/mine/eval --data eval-data
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.user_modules import add_import_option, import_modules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="an output folder of `kosmos eval`")
    parser.add_argument(
        "--data", type=Path, default=Path("eval-data"), metavar="DIR", help="a folder per dataset in it"
    )
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    from kosmos.evaluation.reporting.report_examples import examples_of
    from kosmos.evaluation.reporting.results import load_results
    from kosmos.evaluation.reporting.table1_report import write_table1_report
    from kosmos.evaluation.reporting.table1_terminal import print_table
    from kosmos.evaluation.running.measure_again import measure_again

    metrics = measure_again(args.folder, args.data)
    results = load_results(args.folder)
    write_table1_report(results, examples_of(results, args.data))
    print_table(metrics)
    return 0
