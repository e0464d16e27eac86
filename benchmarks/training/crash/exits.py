"""Distributed runs end without an abort: one after another, each started by torchrun as users do.

    python -m benchmarks.training.crash.exits [--runs 30]

`torchrun --nproc-per-node 2 -m kosmos train`, synchronous and asynchronous checkpoints, rows made in line and by data
processes. Every run must end with exit code 0, and none may leave a trace of an abort in its output.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from benchmarks.training.crash import setting
from benchmarks.training.crash.torchrun import torchrun
from kosmos.config_files import save_config
from kosmos.runs import steps

VARIANTS = [(False, 0), (True, 0), (False, 0), (True, 1)]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=30)
    args = options.parse_args(argv)
    failures: list[str] = []
    ended = aborts = 0
    with tempfile.TemporaryDirectory(prefix="kosmos-exits-") as name:
        folder = Path(name)
        setting.make_corpora(folder / "corpora")
        recipe = setting.make_recipe(folder / "corpora", steps=4, checkpoint_every=2)
        for number in range(args.runs):
            asynchronous, workers = VARIANTS[number % len(VARIANTS)]
            save_config(setting.changed(recipe, asynchronous, workers), folder / "recipe.yaml")
            run = folder / "run"
            arguments = ["-m", "kosmos", "train", str(folder / "recipe.yaml"), "--out", str(run), "--quiet"]
            launch = torchrun(arguments)
            whole = [step for step, _ in steps(run)] == [2, 4]
            ended += launch.code == 0 and whole
            aborts += bool(launch.aborted)
            print(
                f"run {number + 1}/{args.runs}  {'a' * asynchronous}synchronous, {workers} data processes: "
                f"exit code {launch.code}, {launch.seconds:.0f} s {launch.aborted}",
                flush=True,
            )
            if launch.code or launch.aborted or not whole:
                failures.append(launch.output[-3000:])
            shutil.rmtree(run, ignore_errors=True)
    for failure in failures:
        print(failure, file=sys.stderr)
    result = {"runs": args.runs, "ended_well": ended, "aborts": aborts, "failures": len(failures)}
    measure.finish("crash exits", result)
    return result


if __name__ == "__main__":
    sys.exit(1 if main()["failures"] else 0)
