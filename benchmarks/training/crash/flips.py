"""One byte of a checkpoint changes: it must be caught before anything is made of it.

    python -m benchmarks.training.crash.flips [--flips 200] [--seed 1]

Checkpoints of runs on 1 and on 2 ranks. Half of the flips choose the file first, so that small ones are hit as well,
the others any byte. With the last checkpoint changed, `latest_checkpoint` (a resume) must step back to the one before,
and `resolve` (everything that only uses the weights) must refuse it when the byte is one of the weights'. Then every
byte of the manifest is changed in turn, and a few of the runs are resumed for real: they must end as they did before.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from benchmarks.training.crash import setting
from benchmarks.training.crash.processes import Ranks, left_alone
from kosmos.errors import StorageError
from kosmos.runs import resolve, steps
from kosmos.storage import MANIFEST
from kosmos.training.checkpoint import latest_checkpoint


class Flip:
    """A file with one byte changed, for the time of a `with` block."""

    def __init__(self, file: Path, place: int, by: int) -> None:
        self.file, self._place, self._by = file, place, by

    def __enter__(self) -> Flip:
        self._write()
        return self

    def __exit__(self, *error: object) -> None:
        self._write()

    def _write(self) -> None:
        with open(self.file, "r+b") as file:
            file.seek(self._place)
            value = file.read(1)[0] ^ self._by
            file.seek(self._place)
            file.write(bytes([value]))


def caught(run: Path, flip: Flip) -> str:
    """What went wrong with a flip in the run's last checkpoint, or nothing."""
    (_, before), (_, last) = steps(run)[-2:]
    with flip:
        found = latest_checkpoint(run)
        if found != before:
            return f"{flip.file}: a resume would go on from {found}"
        if flip.file.parent == last / "weights":
            try:
                return f"{flip.file}: {resolve(last)} would be used"
            except StorageError:
                pass  # as it must be
            if resolve(run) != before / "weights":
                return f"{flip.file}: {resolve(run)} would be used"
    return ""


def any_byte(run: Path, chance: random.Random, by_file: bool) -> Flip:
    files = sorted(path for path in steps(run)[-1][1].rglob("*") if path.is_file())
    weights = [1 if by_file else path.stat().st_size for path in files]
    file = chance.choices(files, weights)[0]
    return Flip(file, chance.randrange(file.stat().st_size), chance.randrange(1, 256))


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--flips", type=int, default=200)
    options.add_argument("--resumes", type=int, default=4)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args(argv)
    chance = random.Random(args.seed)
    logging.disable(logging.WARNING)  # a line for each checkpoint that is passed over
    hit: Counter[str] = Counter()
    failures: list[str] = []
    manifest = 0
    with tempfile.TemporaryDirectory(prefix="kosmos-flips-") as name:
        folder = Path(name)
        setting.make_corpora(folder / "corpora")
        recipe = setting.make_recipe(folder / "corpora", steps=6, checkpoint_every=2)
        runs = {}
        for ranks in (1, 2):
            runs[ranks] = folder / f"run-{ranks}"
            left_alone(recipe, runs[ranks], ranks)
        for number in range(args.flips):
            run = runs[1 + number % 2]
            flip = any_byte(run, chance, by_file=number % 4 < 2)
            hit[str(flip.file.relative_to(steps(run)[-1][1]))] += 1
            failures += [wrong for wrong in [caught(run, flip)] if wrong]
        for run in runs.values():
            file = steps(run)[-1][1] / MANIFEST
            for place in range(file.stat().st_size if args.flips >= 200 else 3):
                manifest += 1
                failures += [wrong for wrong in [caught(run, Flip(file, place, chance.randrange(1, 256)))] if wrong]
        print("\n".join(f"{count:4d} flips in {file}" for file, count in sorted(hit.items())))
        for number in range(args.resumes):
            ranks = 1 + number % 2
            run = runs[ranks]
            last = steps(run)[-1][1]
            before = setting.checksums(last)
            any_byte(run, chance, by_file=True).__enter__()
            started = Ranks(recipe, run, ranks)
            if any(started.wait()) or setting.checksums(last) != before:
                failures.append(f"resumed over a flip, {run.name} ended otherwise: {started.output()[-1500:]}")
        if hit.total() != args.flips:
            failures.append(f"{hit.total()} flips, not {args.flips}")
    for failure in failures:
        print(failure, file=sys.stderr)
    result = {
        "flips": args.flips,
        "files": len(hit),
        "flips_of_the_manifest": manifest,
        "resumed_over_a_flip": args.resumes,
        "missed": len(failures),
    }
    measure.finish("crash flips", result)
    return result


if __name__ == "__main__":
    sys.exit(1 if main()["missed"] else 0)
