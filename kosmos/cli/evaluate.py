"""Measure a trained model on the picture book's held-out sets.

examples:
  kosmos evaluate runs/mine
  kosmos evaluate runs/mine --tasks naming,vqa
  kosmos evaluate runs/mine --limit 100 --precision bf16
  kosmos evaluate runs/mine/checkpoints/step-2000 --out step-2000-report
  kosmos evaluate runs/mine --follow --tasks naming --limit 200

Every ability is printed with its 95 % interval, chance, the score with blank pictures and the best cheap baseline.
The report (report.md, report.json) goes into the run directory; one on some tasks or items only goes into its folder
evaluation-partial, or where --out says. What is finished there for these weights is not done again.

--follow evaluates every new checkpoint while the run goes on, until its last step, and writes a line for each to
RUN/evaluations/scores.jsonl. It only reads the run, so it may be a process of its own or on another machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos.cli.parser import positive
from kosmos.cli.user_modules import add_import_option, import_modules
from kosmos.errors import Interrupted, UsageError, nearest

if TYPE_CHECKING:
    from kosmos.evaluation.task import Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, or one of its steps with --out")
    parser.add_argument("--tasks", metavar="A,B", help="only these (default: all)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N items of each")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the report goes")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--follow", action="store_true", help="evaluate each new checkpoint while training goes on")
    parser.add_argument(
        "--patience", type=_seconds, metavar="S", help="with --follow: stop when nothing new came for S seconds"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress; the table only")
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    run, step = (args.run, None) if args.follow and _has_begun(args.run) else _run_and_step(args.run)
    if step is not None and args.out is None:
        raise UsageError(f"{args.run}: the report on one step of a run needs a folder of its own: --out DIR")
    if args.out is not None and (args.out / "checkpoints").exists():
        raise UsageError(f"{args.out}: a run directory, whose report stays as it is; choose another --out")
    from kosmos.config import TrainConfig
    from kosmos.config_files import load_config
    from kosmos.evaluation.picturebook.report import Presentation
    from kosmos.evaluation.picturebook.report_terminal import print_report
    from kosmos.evaluation.picturebook.run import PARTIAL_FOLDER, evaluate_run
    from kosmos.evaluation.picturebook.tasks import picturebook_tasks

    vision = load_config(run / "config.yaml", TrainConfig).model.vision
    if vision is None:
        raise UsageError(f"{args.run}: the model takes no pictures, and every task here shows some")
    tasks = {task.name: task for task in picturebook_tasks(vision.image_size)}
    names = args.tasks.split(",") if args.tasks else list(tasks)
    for name in names:
        if name not in tasks:
            raise UsageError(f"no task '{name}'{nearest(name, tasks)}; there are: {', '.join(tasks)}")
    if args.follow:
        if step is not None:
            raise UsageError(f"{args.run}: --follow wants the run directory")
        return _follow(args, [tasks[name] for name in names])
    out = args.out or (run / PARTIAL_FOLDER if args.tasks or args.limit else run)
    try:
        evaluate_run(
            run,
            [tasks[name] for name in names],
            Presentation(),
            out=out,
            step=step,
            limit=args.limit,
            precision=args.precision,
            device=args.device,
            quiet=args.quiet,
        )
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"{out}: interrupted; tasks that are finished are kept: run the same command again to go on"
        ) from stop
    print_report(out)
    return 0


def _follow(args: argparse.Namespace, tasks: list[Task]) -> int:
    from kosmos.evaluation.picturebook.follow import follow_run

    def say(line: str) -> None:
        if not args.quiet:
            print(line, flush=True)

    follow_run(
        args.run,
        tasks,
        out=args.out,
        limit=args.limit,
        precision=args.precision,
        device=args.device,
        patience=args.patience,
        say=say,
    )
    return 0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds") from None
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text}: must be 0 (what there is now) or more")
    return value


def _has_begun(run: Path) -> bool:
    """Whether it is a run directory, with a checkpoint or without one yet."""
    return (run / "config.yaml").is_file() and (run / "metrics.jsonl").is_file()


def _run_and_step(path: Path) -> tuple[Path, Path | None]:
    """The run directory, and the step when `path` is one of its steps."""
    if (path / "config.yaml").is_file() and (path / "checkpoints").is_dir():
        return path, None
    step = path.absolute()
    if step.parent.name == "checkpoints" and (step / "weights").is_dir():
        return step.parent.parent, step
    if (path / "model.safetensors").is_file():
        raise UsageError(
            f"{path}: a model without its run, whose recipe the report is about; give the run directory, or one of its "
            "steps with --out"
        )
    raise UsageError(f"{path}: not a run directory (no config.yaml with checkpoints/)")
