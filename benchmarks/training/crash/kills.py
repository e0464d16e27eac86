"""Interrupted and resumed equals uninterrupted: SIGKILL at random moments, again and again, then a comparison.

    python -m benchmarks.training.crash.kills [--kills 25] [--seed 1]

Runs on 1 and 2 ranks, with checkpoints written at once and behind the training, with rows made in line and by a data
process. Each run is killed (SIGKILL to the whole process group, at a random delay), resumed, killed again, and at last
left to end. Then every line of metrics.jsonl (loss, gradient norm, counts), bad_records.log and every file of the last
checkpoint must be, to the last bit, those of a run on as many ranks that nothing happened to.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from benchmarks.training.crash import setting, trace
from benchmarks.training.crash.processes import Ranks, left_alone
from kosmos.config import TrainConfig
from kosmos.runs import CHECKPOINTS, steps

# (ranks, asynchronous checkpoints, data processes), the first ones for the small form.
VARIANTS = [
    (1, False, 0),
    (2, True, 0),
    (1, True, 1),
    (2, False, 1),
    (1, True, 0),
    (2, False, 0),
    (2, True, 1),
    (1, False, 1),
]
# So many of all kills come at any time from the start of the processes on, the others once training has begun.
_FROM_THE_START = 0.2


class Matrix:
    """The kills so far, and what came of them."""

    def __init__(self, folder: Path, recipe: TrainConfig, seed: int) -> None:
        self.folder, self.recipe = folder, recipe
        self.random = random.Random(seed)
        self.kinds: Counter[str] = Counter()
        self.mid_epoch = self.mid_document = self.unfinished = self.kills = 0
        self.failures: list[str] = []
        self._references: dict[int, tuple[Path, float]] = {}

    def reference(self, ranks: int) -> tuple[Path, float]:
        """The run left alone on so many ranks, and its seconds a step."""
        if ranks not in self._references:
            run = self.folder / f"alone-{ranks}"
            self._references[ranks] = run, left_alone(self.recipe, run, ranks) / self.recipe.steps
        return self._references[ranks]

    def chain(self, number: int, kills: int, of: int) -> None:
        """Kill and resume one run `kills` times, let it end, and compare it."""
        ranks, asynchronous, workers = VARIANTS[number]
        name = f"{ranks} rank{'s' * (ranks > 1)}, {'a' * asynchronous}synchronous, {workers} data processes"
        config = setting.changed(self.recipe, asynchronous, workers)
        reference, pace = self.reference(ranks)
        run = self.folder / f"run-{number}"
        done = 0
        while done < kills:
            started = Ranks(config, run, ranks)
            if self.random.random() < _FROM_THE_START:
                delay = self.random.uniform(0, 1.0 + 4 * pace)
            else:
                started.until(started.training)
                # Several checkpoints far, so that most resumes are from one.
                delay = self.random.uniform(0, 6 * self.recipe.checkpoint_every * pace)
            end = time.monotonic() + delay
            killed = started.until(lambda end=end: time.monotonic() >= end)  # type: ignore[misc]
            phases = started.doing()
            started.kill()
            if not killed:
                # It came to its end first: compared like the others, and begun anew.
                self.compare(run, reference, started)
                shutil.rmtree(run)
                continue
            done += 1
            self.kills += 1
            self.note(run, phases, f"kill {self.kills}/{of}  {name}, after {delay:.2f} s: ")
        started = Ranks(config, run, ranks)
        started.wait()
        self.compare(run, reference, started)
        print(f"{name}: killed {kills} times, then left to end: {'equal' if not self.failures else 'DIFFERENT'}")

    def note(self, run: Path, phases: list[tuple[str, str, str]], head: str) -> None:
        """Count and print what a kill hit."""
        kind = trace.kind(phases)
        self.kinds[kind] += 1
        committed = steps(run)
        place = "from the beginning"
        if committed:
            number, folder = committed[-1]
            found = setting.place_in_data(folder)
            self.mid_epoch += found["mid_epoch"]
            self.mid_document += found["mid_document"]
            passes = ", ".join(f"{name} {value:g}" for name, value in found["passes"].items())
            place = f"from step {number} ({passes} passes{', mid-document' * found['mid_document']})"
        unfinished = any((run / CHECKPOINTS).glob(".step-*")) if run.exists() else False
        self.unfinished += unfinished
        print(f"{head}{trace.told(phases)}; goes on {place}{', half a save on disk' * unfinished}", flush=True)

    def compare(self, run: Path, reference: Path, ended: Ranks) -> None:
        codes = ended.wait()
        if any(codes):
            self.failures.append(f"{run.name}: exit codes {codes}: {ended.output()[-1500:]}")
        else:
            self.failures += setting.differences(run, reference, self.recipe.steps)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=25)
    options.add_argument("--steps", type=int, default=48)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kosmos-kills-") as name:
        folder = Path(name)
        setting.make_corpora(folder / "corpora")
        matrix = Matrix(folder, setting.make_recipe(folder / "corpora", args.steps, checkpoint_every=2), args.seed)
        used = min(len(VARIANTS), args.kills)
        for number in range(used):
            matrix.chain(number, len(range(number, args.kills, used)), args.kills)
    for failure in matrix.failures:
        print(failure, file=sys.stderr)
    result = {
        "kills": matrix.kills,
        "hit": dict(matrix.kinds),
        "resumed_mid_epoch": matrix.mid_epoch,
        "resumed_mid_document": matrix.mid_document,
        "half_saves_on_disk": matrix.unfinished,
        "runs": used,
        "different": len(matrix.failures),
    }
    measure.finish("crash kills", result)
    return result


if __name__ == "__main__":
    sys.exit(1 if main()["different"] else 0)
