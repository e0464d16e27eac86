"""Evaluate a run, a step or a model folder on datasets of the paper.

examples:
  kosmos eval runs/mine --tasks table1 --shots 0,4
  kosmos eval runs/mine --tasks boolq,coco_caption --seeds 0,1,2 --shots 4
  kosmos eval runs/mine --tasks rendered_sst2 --prompt chain_of_thought --precision bf16

Each dataset takes the numbers of demonstrations that the paper gave it; others of --shots are left out for it. What is
finished is never asked again: run the same command after a crash, with any number of ranks. The results go to
RUN/eval (or --out): metrics.json, samples/, report.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos.cli.parser import positive
from kosmos.cli.user_modules import add_import_option, import_modules
from kosmos.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from kosmos.evaluation.benchmark import Benchmark, Prompt
    from kosmos.evaluation.running.cells import Cell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=Path, metavar="RUN", help="a run directory (its latest step), a step or a model folder"
    )
    parser.add_argument(
        "--tasks", required=True, metavar="A,B", help="datasets, or table1, language, vqa, ... for many"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("eval-data"), metavar="DIR", help="a folder per dataset in it"
    )
    parser.add_argument("--shots", default="0", metavar="K,K", help="numbers of demonstrations (default: 0)")
    parser.add_argument("--seeds", default="0", metavar="S,S", help="of the demonstrations (default: 0)")
    parser.add_argument(
        "--prompt", default="", metavar="NAME", help="another prompt than the paper's (lm_eval, valm, all)"
    )
    parser.add_argument("--available", action="store_true", help="leave out datasets that are not below --data")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N examples of each")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the results go (default: RUN/eval)")
    parser.add_argument("--skip-broken", action="store_true", help="count examples that cannot be read, and go on")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default) or cuda")
    parser.add_argument("--batch-size", type=positive, default=64, metavar="N", help="prompts at once (default: 64)")
    parser.add_argument("--quiet", action="store_true", help="no progress; the table only")
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    shots, seeds = numbers(args.shots, "--shots"), numbers(args.seeds, "--seeds")
    from kosmos.evaluation.tasks.table1 import select_benchmarks

    chosen = select_benchmarks(args.tasks)
    check_shots(chosen, shots)
    if args.available:
        chosen = _available(chosen, args.data)
    cells = chosen_cells(chosen, shots, seeds, args.prompt)
    from kosmos.api import find_device
    from kosmos.evaluation.reporting.table1_terminal import print_table
    from kosmos.evaluation.table1_run import evaluate_cells

    find_device(args.device)
    out = args.out or args.model / "eval"
    try:
        metrics = evaluate_cells(
            args.model,
            cells,
            data=args.data,
            out=out,
            limit=args.limit,
            precision=args.precision,
            device=args.device,
            max_slots=args.batch_size,
            skip_broken=args.skip_broken,
            quiet=args.quiet,
        )
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"{out}: interrupted; what is finished is kept: run the same command again to go on"
        ) from stop
    if metrics is not None:
        print_table(metrics)
        print(f"Report: {out / 'report.html'}")
    return 0


def _available(chosen: list[Benchmark], data: Path) -> list[Benchmark]:
    """Those whose folders hold files; the others are named on standard error."""
    from kosmos.evaluation.obtaining.inventory import is_there

    there = [benchmark for benchmark in chosen if is_there(data / (benchmark.folder or benchmark.name))]
    missing = [benchmark.name for benchmark in chosen if benchmark not in there]
    if not there:
        raise UsageError(f"{data}: holds none of {', '.join(missing)}; `kosmos eval prepare NAME` says how to get one")
    if missing:
        print(f"not below {data}, left out: {', '.join(missing)}", file=sys.stderr)
    return there


def check_shots(benchmarks: list[Benchmark], shots: list[int]) -> None:
    """Raises UsageError for a number of demonstrations that none of the datasets has."""
    for number in shots:
        if not any(number in benchmark.shots for benchmark in benchmarks):
            if len(benchmarks) == 1:
                benchmarks[0].check_shots(number)
            known = ", ".join(map(str, sorted({known for benchmark in benchmarks for known in benchmark.shots})))
            raise UsageError(f"--shots: none of these datasets is defined for {number} demonstrations, but for {known}")


def chosen_cells(benchmarks: list[Benchmark], shots: list[int], seeds: list[int], prompt: str) -> list[Cell]:
    """The cells of the table. Shots and prompts that a dataset does not have are left out, unless none is left at all.

    Without `prompt` each dataset has its default and the controls beside it; `all` stands for every prompt.
    """
    from kosmos.evaluation.running.cells import Cell

    alone = len(benchmarks) == 1
    cells: list[Cell] = []
    for benchmark in benchmarks:
        allowed = [number for number in shots if number in benchmark.shots]
        for number in allowed:
            for seed in seeds if number else seeds[:1]:
                for asked in _prompts(benchmark, prompt, alone):
                    made: dict[str, Any] = {"benchmark": benchmark, "prompt": asked, "shots": number, "seed": seed}
                    cells.append(Cell(**made))
                    if benchmark.mode == "names":
                        cells.append(Cell(**made, held_to_names=True))
    if not cells:
        raise UsageError(
            f"none of these datasets has {', '.join(map(str, shots))} demonstrations"
            + (f" and a prompt '{prompt}'" if prompt else "")
        )
    return cells


def _prompts(benchmark: Benchmark, name: str, alone: bool) -> list[Prompt]:
    from kosmos.evaluation.tasks.table1 import prompts_named

    if not name:
        return [benchmark.prompt(), *(benchmark.prompt(other) for other in benchmark.beside)]
    if name == "all":
        return list(benchmark.prompts)
    try:
        return list(prompts_named(benchmark, name))
    except UsageError:
        if alone:
            raise
        return []


def numbers(text: str, option: str) -> list[int]:
    """Comma-separated whole numbers, each once."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text}: give whole numbers with commas between, such as 0,4") from None
    if min(values) < 0 or len(set(values)) < len(values):
        raise UsageError(f"{option} {text}: give different numbers, none below 0")
    return values
