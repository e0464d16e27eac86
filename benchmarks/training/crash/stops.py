"""SIGTERM and Ctrl-C: the run saves, ends, and goes on later as if nothing had happened.

    python -m benchmarks.training.crash.stops [--stops 12] [--seed 1]

At a random moment of the training, SIGTERM goes to all ranks at once, twice to all, to one rank alone, or SIGINT to
all. Every rank must leave with exit code 4 (interrupted, saved) and no step must be lost: the last of metrics.jsonl is
that of the last checkpoint. Resumed and stopped again and again, the run must end bit for bit as one that was left
alone. The same is then done to torchrun itself, which passes SIGTERM on.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from benchmarks.training.crash import setting, trace
from benchmarks.training.crash.processes import Ranks, left_alone
from benchmarks.training.crash.torchrun import torchrun
from kosmos.config import TrainConfig
from kosmos.config_files import save_config
from kosmos.runs import steps
from kosmos.training.checkpoint import latest_checkpoint

# (ranks, asynchronous checkpoints, data processes, what is sent)
VARIANTS = [
    (2, True, 0, "SIGTERM to all, twice"),
    (1, False, 1, "SIGTERM to all"),
    (2, False, 0, "SIGTERM to one rank"),
    (1, True, 0, "SIGINT to all"),
    (2, True, 1, "SIGTERM to one rank"),
    (2, False, 0, "SIGTERM to all, twice"),
]


def send(started: Ranks, what: str, chance: random.Random) -> None:
    if what == "SIGTERM to one rank":
        os.kill(chance.choice(started.pids), signal.SIGTERM)
    else:
        started.signal(signal.SIGINT if "SIGINT" in what else signal.SIGTERM)
    if what.endswith("twice"):
        time.sleep(chance.uniform(0, 0.2))
        started.signal(signal.SIGTERM)


def launched(recipe: TrainConfig, run: Path, folder: Path, chance: random.Random) -> list[str]:
    """What went wrong when torchrun with two ranks was sent SIGTERM, and started again."""
    reference = folder / "alone-2"
    if not reference.exists():
        left_alone(recipe, reference, 2)
    save_config(setting.changed(recipe, asynchronous=True), folder / "recipe.yaml")
    arguments = ["-m", "kosmos", "train", str(folder / "recipe.yaml"), "--out", str(run), "--quiet", "--resume"]
    least = chance.randint(1, recipe.steps // 2)

    def stop(process: subprocess.Popen[str]) -> None:
        metrics = run / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") >= least):
            time.sleep(0.01)
        process.terminate()

    launch = torchrun(arguments, meanwhile=stop)
    last, found = setting.lines(run)[-1]["step"], latest_checkpoint(run)
    print(
        f"torchrun, SIGTERM after step {least} or later: {found}, {launch.seconds:.0f} s {launch.aborted}", flush=True
    )
    wrong = [] if found is not None and steps(run)[-1] == (last, found) and last < recipe.steps else [launch.output]
    again = torchrun(arguments)
    wrong += [again.output[-1500:]] if again.code else setting.differences(run, reference, recipe.steps)
    return wrong + [aborted for aborted in (launch.aborted, again.aborted) if aborted]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--stops", type=int, default=12)
    options.add_argument("--launches", type=int, default=2, help="stops of torchrun")
    options.add_argument("--steps", type=int, default=30)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args(argv)
    chance = random.Random(args.seed)
    failures: list[str] = []
    hit: Counter[str] = Counter()
    stops = 0
    with tempfile.TemporaryDirectory(prefix="kosmos-stops-") as name:
        folder = Path(name)
        setting.make_corpora(folder / "corpora")
        recipe = setting.make_recipe(folder / "corpora", args.steps, checkpoint_every=4)
        alone: dict[int, float] = {}
        used = min(len(VARIANTS), args.stops)
        for number in range(used):
            ranks, asynchronous, workers, what = VARIANTS[number]
            reference = folder / f"alone-{ranks}"
            if ranks not in alone:
                alone[ranks] = left_alone(recipe, reference, ranks) / recipe.steps
            config = setting.changed(recipe, asynchronous, workers)
            run = folder / f"run-{number}"
            for _ in range(len(range(number, args.stops, used))):
                started = Ranks(config, run, ranks)
                started.until(started.training)
                end = time.monotonic() + chance.uniform(0, 5 * alone[ranks])
                started.until(lambda end=end: time.monotonic() >= end)  # type: ignore[misc]
                phases = started.doing()
                send(started, what, chance)
                codes = started.wait()
                stops += 1
                hit[trace.kind(phases)] += 1
                found = latest_checkpoint(run)
                print(f"stop {stops}/{args.stops}  {ranks} ranks, {what}: {trace.told(phases)}; {codes}, {found}")
                last = setting.lines(run)[-1]["step"]
                if codes == [0] * ranks and last == recipe.steps:
                    continue  # it was in its last step already
                if codes != [4] * ranks:
                    failures.append(f"{what}: exit codes {codes}: {started.output()[-1500:]}")
                if found is None or steps(run)[-1] != (last, found):
                    failures.append(f"{what}: step {last} is the last line, {found} the last checkpoint")
            ended = Ranks(config, run, ranks)
            if any(ended.wait()):
                failures.append(ended.output()[-1500:])
            else:
                failures += setting.differences(run, reference, recipe.steps)
        for number in range(args.launches):
            failures += launched(recipe, folder / f"launched-{number}", folder, chance)
    for failure in failures:
        print(failure, file=sys.stderr)
    result = {"stops": stops, "hit": dict(hit), "runs": used, "launches": args.launches, "failures": len(failures)}
    measure.finish("crash stops", result)
    return result


if __name__ == "__main__":
    sys.exit(1 if main()["failures"] else 0)
