"""What the actions that run a datatrove pipeline have in common: where it runs, and its report."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos.cli.parser import positive

if TYPE_CHECKING:
    from kosmos.data.web.executors import ExecutorSettings, Stage
    from kosmos.data.web.report import PipelineReport


def add_executor_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the pipeline runs."""
    group = parser.add_argument_group("where it runs")
    group.add_argument("--workers", type=positive, default=1, metavar="N", help="tasks at a time (1)")
    group.add_argument("--executor", choices=("local", "slurm", "ray"), default="local", help="default: local")
    group.add_argument("--partition", default="", metavar="NAME", help="Slurm's")
    group.add_argument("--time", default="24:00:00", metavar="H:M:S", help="Slurm's limit for one job (24:00:00)")
    group.add_argument("--memory-gb", type=positive, default=4, metavar="N", help="of one task, Slurm and Ray (4)")


def executor_settings(args: argparse.Namespace) -> ExecutorSettings:
    """The settings that the arguments ask for."""
    from kosmos.data.web.executors import ExecutorSettings

    return ExecutorSettings(args.executor, args.workers, args.partition, args.time, args.memory_gb)


def print_stage(stage: Stage) -> None:
    """Say which stage begins."""
    print(f"{stage.name}: {stage.tasks} {'task' if stage.tasks == 1 else 'tasks'}", flush=True)


def print_report(out: Path, report: PipelineReport | None) -> None:
    """Say what came of it in a few lines; report.md has the rest."""
    if report is None:
        print(f"{out}: the jobs are handed in; {out}/report.md will be there when they are done")
        return
    kept = f"{report.kept_pictures:,} of {report.pictures:,} pictures; " if report.pictures else ""
    print(f"{out}: {report.kept:,} of {report.read:,} {report.kind} kept, {kept}see {out}/report.md")
    for what, removals in ((report.kind, report.removed), ("pictures", report.removed_pictures)):
        if by_rule := Counter({removal.rule: 0 for removal in removals}):
            for removal in removals:
                by_rule[removal.rule] += removal.count
            print(f"{what} removed: {', '.join(f'{count:,} {rule}' for rule, count in by_rule.items())}")
