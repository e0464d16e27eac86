"""The disk fills up while a run trains: it says so and stops, and nothing that was committed is lost.

    python -m benchmarks.training.crash.full_disk [--fills 12] [--seed 1]

The run directory lies on a small file system of its own (tmpfs in a mount namespace; Linux, no rights needed). A run is
let begin, then all but a random rest of the room is taken away. The run must end with exit code 5 and leave no half
checkpoint; every checkpoint left must be whole. With room again it is resumed, and must end bit for bit as one that was
left alone.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from benchmarks.training.crash import setting
from benchmarks.training.crash.processes import Ranks, left_alone
from kosmos.runs import CHECKPOINTS, steps
from kosmos.storage import check_manifest

_INSIDE = "KOSMOS_CRASH_DISK"
_ROOM = 64 << 20
VARIANTS = [(1, False), (2, True), (1, True), (2, False)]


def room(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def in_a_namespace(arguments: list[str]) -> int:
    """This program again, in a mount namespace where a small file system is mounted. Returns its exit code."""
    with tempfile.TemporaryDirectory(prefix="kosmos-disk-") as place:
        mount = f'mount -t tmpfs -o size={_ROOM} none "${_INSIDE}" && exec "$@"'
        command = [sys.executable, "-m", "benchmarks.training.crash.full_disk", *arguments]
        unshared = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *command]
        return subprocess.run(unshared, env={**os.environ, _INSIDE: place}).returncode


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--fills", type=int, default=12)
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args(argv)
    chance = random.Random(args.seed)
    folder = Path(os.environ[_INSIDE])
    notes = folder.with_name(f"{folder.name}-notes")  # on a disk with room
    notes.mkdir()
    failures: list[str] = []
    hit: Counter[str] = Counter()
    refused = 0
    setting.make_corpora(folder / "corpora")
    recipe = setting.make_recipe(folder / "corpora", args.steps, checkpoint_every=2)
    for number in range(args.fills):
        ranks, asynchronous = VARIANTS[number % len(VARIANTS)]
        reference = folder / f"alone-{ranks}"
        if not reference.exists():
            left_alone(recipe, reference, ranks)
        a_checkpoint = sum(path.stat().st_size for path in steps(reference)[-1][1].rglob("*"))
        config = setting.changed(recipe, asynchronous)
        run = folder / f"run-{number}"
        started = Ranks(config, run, ranks, notes=notes)
        least = 2 * chance.randint(1, 2)
        started.until(lambda run=run, least=least: bool(steps(run)) and steps(run)[-1][0] >= least)  # type: ignore[misc]
        # It stands still while the disk fills, so that the rest is what it is meant to be.
        started.signal(signal.SIGSTOP)
        committed = steps(run)[-1][0]
        # From nothing at all to a little more than a checkpoint takes.
        rest = chance.randrange(int(1.2 * a_checkpoint)) if number % 4 else 0
        ballast = folder / "ballast"
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, room(folder) - rest))
        started.signal(signal.SIGCONT)
        codes = started.wait()
        kept = steps(run)
        half = [path.name for path in (run / CHECKPOINTS).iterdir() if not path.name.startswith("step-")]
        said = next((line for line in started.output().splitlines() if "cannot write" in line), "")
        print(f"fill {number + 1}/{args.fills}  {ranks} ranks, {rest} bytes left: {codes}; kept {[s for s, _ in kept]}")
        print(f"    {said.replace(str(folder), '...')}", flush=True)
        for _, checkpoint in kept:
            check_manifest(checkpoint)
        if codes[0] == 5:
            refused += 1
            hit["checkpoint" if "checkpoint" in said else "log"] += 1
            if not said or "Traceback" in said:
                failures.append(f"fill {number}: no line says what happened: {started.output()[-1500:]}")
        elif any(codes):
            failures.append(f"fill {number}: exit codes {codes}: {started.output()[-1500:]}")
        if half or not kept or kept[-1][0] < committed:
            failures.append(f"fill {number}: step {committed} was committed; now there is {kept}, and {half}")
        ballast.unlink()
        ended = Ranks(config, run, ranks, notes=notes)
        if any(ended.wait()):
            failures.append(f"fill {number}: resumed: {ended.output()[-1500:]}")
        else:
            failures += setting.differences(run, reference, recipe.steps)
        shutil.rmtree(run)
    shutil.rmtree(notes)
    for failure in failures:
        print(failure, file=sys.stderr)
    result = {"fills": args.fills, "refused": refused, "in": dict(hit), "failures": len(failures)}
    measure.finish("crash full disk", result)
    return result


if __name__ == "__main__":
    if _INSIDE not in os.environ:
        sys.exit(in_a_namespace(sys.argv[1:]))
    sys.exit(1 if main()["failures"] else 0)
