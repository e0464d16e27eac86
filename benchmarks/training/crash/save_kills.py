"""Killed inside a save: whatever the moment, the last whole checkpoint loads, and nothing committed is lost.

    python -m benchmarks.training.crash.save_kills [--kills 50] [--seed 1]

Half of the kills come at a random delay after a save has begun; the other half exactly before a random operation of it
on the file system (open, rename, fsync, remove ...), so that short moments are hit as often as long ones. All are
SIGKILL to the whole process group. After each, `latest_checkpoint` must find a checkpoint no older than before, whose
files are those of an undisturbed run, and whose weights and moments load. The run then goes on over what the kill left
behind.
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

import torch

from benchmarks.data import measure
from benchmarks.training.crash import setting, trace
from benchmarks.training.crash.processes import Ranks, left_alone
from kosmos.config import TrainConfig
from kosmos.runs import CHECKPOINTS
from kosmos.training.checkpoint import latest_checkpoint, load_model, load_optimizer, read_state
from kosmos.training.optimizer import Optimizer
from kosmos.training.world import World

# (ranks, asynchronous)
VARIANTS = [(1, False), (2, True), (1, True), (2, False)]


def look(run: Path, reference: Path, config: TrainConfig) -> dict[str, Any]:
    """The step that a resume would go on from; an error when it would not be what the undisturbed run saved."""
    found = latest_checkpoint(run) if run.exists() else None
    if found is None:
        return {"step": 0}
    state = read_state(found)
    optimizer = Optimizer(load_model(found), config.optimizer, config.steps)
    load_optimizer(found, optimizer, World(0, 1, torch.device("cpu")))
    if setting.checksums(found) != setting.checksums(reference / CHECKPOINTS / found.name):
        return {"error": f"{found.name} is not what an undisturbed run saves"}
    return {"step": state.step}


class Matrix:
    def __init__(self, folder: Path, recipe: TrainConfig, seed: int) -> None:
        self.folder, self.recipe = folder, recipe
        self.random = random.Random(seed)
        self.hit: Counter[str] = Counter()
        self.kills = self.bad = self.beside = 0
        self.failures: list[str] = []

    def chain(self, number: int, kills: int, of: int) -> None:
        """Kill one run `kills` times inside saves, let it end, and compare it."""
        ranks, asynchronous = VARIANTS[number]
        reference = self.folder / f"alone-{number}"
        undisturbed = setting.changed(self.recipe, asynchronous, keep=1000)
        left_alone(undisturbed, reference, ranks)
        counted = trace.operations(reference.with_name(f"{reference.name}.trace"), ranks)
        a_save = counted / (self.recipe.steps / self.recipe.checkpoint_every)
        config = setting.changed(self.recipe, asynchronous)
        name = f"{ranks} rank{'s' * (ranks > 1)}, {'a' * asynchronous}synchronous"
        run = self.folder / f"run-{number}"
        done = last = 0
        seconds = 0.2
        while done < kills:
            by_clock = (done + number) % 2 == 0
            if by_clock:
                started = Ranks(config, run, ranks)
                started.until(lambda started=started: trace.kind(started.doing()) == "save")  # type: ignore[misc]
                begun = time.monotonic()
                end = begun + self.random.uniform(0, seconds)
                started.until(lambda end=end: time.monotonic() >= end)  # type: ignore[misc]
            else:
                started = Ranks(config, run, ranks, die_at=self.random.randint(1, round(2 * a_save)))
                started.wait()
            phases = started.doing()
            started.kill()
            codes = started.wait()
            if codes == [0] * ranks:
                # It came to its end first.
                self.failures += setting.differences(run, reference, self.recipe.steps)
                shutil.rmtree(run)
                last = 0
                continue
            if not set(codes) <= {0, -9}:
                self.failures.append(f"{name}: exit codes {codes}: {started.output()[-1500:]}")
                return
            inside = trace.kind(phases) == "save"
            found = measure.apart(lambda run=run: look(run, reference, config))  # type: ignore[misc]
            step = found.get("step", -1)
            if "error" in found or step < last:
                self.bad += 1
                self.failures.append(f"{name}: {found.get('error', f'step {last} was committed, now {step} is last')}")
            last = max(last, step)
            if by_clock:
                # Somewhat more than a save takes: its end is hit too.
                seconds = min(2.0, seconds * 1.2) if inside else max(0.02, seconds * 0.8)
            if not inside:
                self.beside += 1
                continue
            done += 1
            self.kills += 1
            self.note(phases, f"kill {self.kills}/{of}  {name}, by {'clock' if by_clock else 'operation'}: ", step)
        ended = Ranks(config, run, ranks)
        codes = ended.wait()
        wrong = setting.differences(run, reference, self.recipe.steps) if not any(codes) else [ended.output()[-1500:]]
        self.failures += wrong
        left = [path.name for path in (run / CHECKPOINTS).iterdir() if path.name.startswith(".")]
        self.failures += [f"{name}: left behind: {left}"] * bool(left)
        print(f"{name}: killed {kills} times inside saves, then left to end: {'DIFFERENT' if wrong else 'equal'}")

    def note(self, phases: list[tuple[str, str, str]], head: str, step: int) -> None:
        saving = [behind or main for main, behind, _ in phases if behind or main.startswith(("save", "wait"))]
        self.hit[saving[0]] += 1
        operation = phases[0][2].partition(" ")[2].rpartition("/.step")[2]
        print(f"{head}{trace.told(phases)}, at `{operation}`; the last whole checkpoint is step {step}", flush=True)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--steps", type=int, default=24)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kosmos-save-kills-") as name:
        folder = Path(name)
        setting.make_corpora(folder / "corpora")
        matrix = Matrix(folder, setting.make_recipe(folder / "corpora", args.steps, checkpoint_every=2), args.seed)
        used = min(len(VARIANTS), args.kills)
        for number in range(used):
            matrix.chain(number, len(range(number, args.kills, used)), args.kills)
    for failure in matrix.failures:
        print(failure, file=sys.stderr)
    result = {
        "kills_inside_saves": matrix.kills,
        "hit": dict(matrix.hit.most_common()),
        "kills_beside_saves": matrix.beside,
        "bad_loads": matrix.bad,
        "failures": len(matrix.failures),
    }
    measure.finish("crash save kills", result)
    return result


if __name__ == "__main__":
    sys.exit(1 if main()["failures"] else 0)
