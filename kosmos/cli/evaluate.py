"""Measure a trained model on the picture book's held-out sets.

examples:
  kosmos evaluate runs/mine
  kosmos evaluate runs/mine --tasks naming,vqa
  kosmos evaluate runs/mine --limit 100 --precision bf16

Every ability is printed with its 95 % interval, chance, the score with blank pictures and the best cheap baseline.
The report (report.md, report.json) goes into the run directory; one on some tasks or items only goes into its folder
evaluation-partial, or where --out says. What is finished there for these weights is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.parser import positive
from kosmos.errors import UsageError, nearest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--tasks", metavar="A,B", help="only these (default: all)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N items of each")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the report goes")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--quiet", action="store_true", help="no progress; the table only")


def run(args: argparse.Namespace) -> int:
    if not (args.run / "config.yaml").is_file() or not (args.run / "checkpoints").is_dir():
        raise UsageError(f"{args.run}: not a run directory (no config.yaml with checkpoints/)")
    if args.out is not None and (args.out / "checkpoints").exists():
        raise UsageError(f"{args.out}: a run directory, whose report stays as it is; choose another --out")
    from kosmos.config import TrainConfig
    from kosmos.config_files import load_config
    from kosmos.evaluation.report import Presentation
    from kosmos.evaluation.report_terminal import print_report
    from kosmos.evaluation.run import PARTIAL_FOLDER, evaluate_run
    from kosmos.evaluation.tasks.picturebook import picturebook_tasks

    vision = load_config(args.run / "config.yaml", TrainConfig).model.vision
    if vision is None:
        raise UsageError(f"{args.run}: the model takes no pictures, and every task here shows some")
    tasks = {task.name: task for task in picturebook_tasks(vision.image_size)}
    names = args.tasks.split(",") if args.tasks else list(tasks)
    for name in names:
        if name not in tasks:
            raise UsageError(f"no task '{name}'{nearest(name, tasks)}; there are: {', '.join(tasks)}")
    out = args.out or (args.run / PARTIAL_FOLDER if args.tasks or args.limit else args.run)
    evaluate_run(
        args.run,
        [tasks[name] for name in names],
        Presentation(),
        out=out,
        limit=args.limit,
        precision=args.precision,
        quiet=args.quiet,
    )
    print_report(out)
    return 0
