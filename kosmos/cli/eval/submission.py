"""Write the file that a benchmark's server takes, from an evaluation of its test split.

examples:
  kosmos eval runs/mine --tasks vqav2_test
  kosmos eval submission runs/mine/eval --task vqav2_test --out vqav2
  kosmos eval submission runs/mine/eval --task websrc_test --cell websrc_test-image_only --out websrc

All questions of the split must be answered: they are read again from --data. The files are checked against the form
that the server takes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kosmos.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("evaluation", type=Path, metavar="DIR", help="the results' folder, with samples/ in it")
    parser.add_argument("--task", required=True, metavar="NAME", help="vqav2_test, vizwiz_test or websrc_test")
    parser.add_argument("--cell", default="", metavar="NAME", help="which samples, where there are several of the task")
    parser.add_argument(
        "--data", type=Path, default=Path("eval-data"), metavar="DIR", help="a folder per dataset in it"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")


def run(args: argparse.Namespace) -> int:
    from kosmos.evaluation.reporting.submissions import get_submission, read_predictions, write_submission
    from kosmos.evaluation.tasks.table1 import get_benchmark

    submission = get_submission(args.task)
    samples = _samples(args.evaluation / "samples", args.task, args.cell)
    benchmark = get_benchmark(args.task)
    questions = benchmark.read(args.data / (benchmark.folder or benchmark.name), benchmark.split)
    paths = write_submission(submission, read_predictions(samples), [question.id for question in questions], args.out)
    for path in paths:
        print(path)
    print(f"{len(questions):,} answers, all checked. {submission.how}", file=sys.stderr)
    official = benchmark.num_examples.get(benchmark.split, len(questions))
    if len(questions) != official:
        print(f"The official split has {official:,} questions: its server refuses a file for others.", file=sys.stderr)
    return 0


def _samples(folder: Path, task: str, cell: str) -> Path:
    """The samples of the cell, or of the task's only one."""
    names = sorted(path.stem for path in folder.glob(f"{task}*.jsonl"))
    names = [name for name in names if name == task or name[len(task)] == "-"]
    if cell and cell not in names:
        raise UsageError(f"{folder}: no samples of '{cell}'; of {task} there are: {', '.join(names) or 'none'}")
    if not names:
        raise UsageError(f"{folder}: no samples of {task}: run `kosmos eval RUN --tasks {task}` first")
    if len(names) > 1 and not cell:
        raise UsageError(f"{folder}: several cells of {task}; choose one with --cell: {', '.join(names)}")
    return folder / f"{cell or names[0]}.jsonl"
