"""Look at the environment, a recipe, its data and a run, and say what is wrong and what to do.

examples:
  kosmos doctor
  kosmos doctor recipe.yaml
  kosmos doctor runs/mine
  kosmos doctor runs/mine --json
  kosmos doctor kosmos-1 --data.root /data
  kosmos doctor --eval-data eval-data
  kosmos doctor --eval-data eval-data --tasks vqa,boolq

Without a name it looks at the environment alone; with a recipe (a file, or a packaged one's name) at that and its data
too; with a run directory also at its checkpoints; with --eval-data at the datasets that `kosmos eval` would read. Any
key of the recipe is an option, as for `kosmos train`. Nothing is changed, fetched or trained; only indices of small
files may be made. Exit code 0, or the class of the worst problem: 2 configuration, 3 data, 5 storage. Warnings are no
problems.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos.cli.tables import counted
from kosmos.cli.user_modules import add_import_option, import_modules
from kosmos.errors import UsageError

if TYPE_CHECKING:
    from kosmos.doctor.registry import Result

# Options that the parser does not know are keys of the configuration.
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", metavar="RUN|RECIPE", help="default: the environment alone")
    parser.add_argument("--problems", action="store_true", help="print warnings and problems only")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    parser.add_argument("--eval-data", type=Path, metavar="DIR", help="look at the evaluation's datasets there")
    parser.add_argument("--tasks", metavar="A,B", help="which of them must be there (default: look at what is)")
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    from kosmos.cli.overrides import read_overrides
    from kosmos.doctor.registry import examine, worst_exit_code
    from kosmos.doctor.subject import open_subject

    import_modules(args.modules)
    results: list[Result] = []
    part = ""
    if args.tasks and args.eval_data is None:
        raise UsageError("--tasks names datasets; say with --eval-data where they are")
    subject = open_subject(args.subject, read_overrides(args.overrides))
    subject = replace(subject, evaluation_data=args.eval_data, evaluation_tasks=args.tasks or "")
    for result in examine(subject):
        results.append(result)
        if not args.json:
            part = _print(result, part, args.problems)
    code = worst_exit_code(results)
    if args.json:
        findings = [finding for result in results for finding in result.to_json()]
        print(json.dumps({"subject": args.subject, "exit_code": code, "findings": findings}, indent=2))
    else:
        print(_summary(results))
    return code


def _print(result: Result, part: str, problems_only: bool) -> str:
    """Print what a check found, under the heading of its part; returns the part whose heading is printed."""
    for finding in result.findings:
        if problems_only and finding.level == "ok":
            continue
        if part != result.check.part:
            part = result.check.part
            print(part)
        print(f"  {finding.level:<8} {finding.what}", flush=True)
        if finding.do:
            print(f"           {finding.do}")
    return part


def _summary(results: Sequence[Result]) -> str:
    levels = [finding.level for result in results for finding in result.findings]
    if set(levels) <= {"ok"}:
        return "all is well"
    problems, warnings = levels.count("problem"), levels.count("warning")
    counts = [(problems, "problem"), (warnings, "warning")]
    return ", ".join(counted(number, thing) for number, thing in counts if number)
