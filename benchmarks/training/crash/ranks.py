"""Killed on so many ranks, gone on with on others: the next steps are those of the run left alone, on the same data.

    python -m benchmarks.training.crash.ranks [--kills 8] [--seed 1]

Two, then one, then three ranks (and other orders), SIGKILL at a random moment before each change. Loss and gradient
norm of the ten steps after each change must be within 1e-6 of the same steps of an uninterrupted run on as many ranks
as it began with; the tokens and pictures of every micro-batch must be the same (sha256), wherever it ran.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from benchmarks.training.crash import setting, trace
from benchmarks.training.crash.processes import Ranks
from kosmos.batch import Batch
from kosmos.config import TrainConfig
from kosmos.runs import steps
from kosmos.training import loop

ORDERS = [(2, 1, 3), (1, 3, 2), (3, 2, 1), (2, 3, 1)]
WITHIN = 1e-6


def digest(batch: Batch) -> str:
    """sha256 of all that a micro-batch says to the model."""
    found = hashlib.sha256(batch.source.encode())
    tensors = [batch.token_ids, batch.supervised, batch.segment_ids]
    tensors += [tensor for item in batch.inputs.values() for tensor in (item.features, item.slots)]
    for tensor in tensors:
        if tensor is not None:
            found.update(str(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def record_data(file: Path, rank: int, tracer: trace.Trace) -> None:
    """Have every micro-batch that this rank trains on written to FILE."""
    plain: Any = vars(loop)["train_step"]

    @functools.wraps(plain)
    def recorded(module: Any, optimizer: Any, batches: list[Batch], **options: Any) -> Any:
        with open(file, "a") as log:
            for batch in batches:
                log.write(json.dumps([options["step"], batch.number, digest(batch)]) + "\n")
        return plain(module, optimizer, batches, **options)

    setattr(loop, "train_step", recorded)  # noqa: B010  the name is not the module's own


def seen(file: Path) -> set[tuple[int, int, str]]:
    """(step, micro-batch, sha256) of all that was trained on, whole lines only."""
    found = file.read_text().split("\n")[:-1] if file.exists() else []
    return {tuple(json.loads(line)) for line in found if line.startswith("[") and line.endswith("]")}


def start(config: TrainConfig, run: Path, ranks: int) -> Ranks:
    return Ranks(config, run, ranks, hook=functools.partial(record_data, run.with_name(f"{run.name}.data")))


def largest(run: list[dict[str, Any]], alone: list[dict[str, Any]], after: int, count: int) -> float:
    """The largest difference of loss or gradient norm in `count` steps after step `after`."""
    pairs = zip(run[after : after + count], alone[after : after + count], strict=True)
    return max(abs(mine[key] - other[key]) for mine, other in pairs for key in ("loss", "grad_norm"))


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=8, help="two for each order of ranks")
    options.add_argument("--next", type=int, default=10, help="steps after each change that must agree")
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args(argv)
    chance = random.Random(args.seed)
    failures: list[str] = []
    worst = everywhere = 0.0
    changes = kills = 0
    with tempfile.TemporaryDirectory(prefix="kosmos-ranks-") as name:
        folder = Path(name)
        setting.make_corpora(folder / "corpora")
        recipe = setting.make_recipe(folder / "corpora", steps=18 + 3 * args.next)
        alone: dict[int, tuple[list[dict[str, Any]], set[Any]]] = {}
        for number in range(-(-args.kills // 2)):
            order = ORDERS[number % len(ORDERS)]
            if order[0] not in alone:
                run = folder / f"alone-{order[0]}"
                started = start(recipe, run, order[0])
                if any(started.wait()):
                    raise RuntimeError(f"the run left alone failed: {started.output()[-2000:]}")
                alone[order[0]] = setting.lines(run), seen(run.with_name(f"{run.name}.data"))
            config = setting.changed(recipe, asynchronous=number % 2 == 1)
            run = folder / f"run-{number}"
            began = []
            for place, ranks in enumerate(order):
                began.append(steps(run)[-1][0] if run.exists() else 0)
                started = start(config, run, ranks)
                if place < 2:
                    # So many steps at least on these ranks, then a kill at any moment of the next ones.
                    least = began[-1] + args.next + config.checkpoint_every
                    started.until(lambda started=started, least=least: at_step(started) >= least)  # type: ignore[misc]
                    end = time.monotonic() + chance.uniform(0, 0.3)
                    started.until(lambda end=end: time.monotonic() >= end)  # type: ignore[misc]
                    phases = started.doing()
                    started.kill()
                    kills += 1
                    print(f"{order}: killed on {ranks} ranks: {trace.told(phases)}", flush=True)
                elif any(started.wait()):
                    failures.append(f"{order}: {started.output()[-1500:]}")
            figures, data = alone[order[0]]
            mine = setting.lines(run)
            for ranks, first in zip(order, began, strict=True):
                count = min(args.next, recipe.steps - first)
                difference = largest(mine, figures, first, count)
                changes += first > 0
                worst = max(worst, difference)
                print(f"{order}: on {ranks} ranks from step {first} on: at most {difference:.2e} in {count} steps")
                if difference > WITHIN or count < args.next:
                    failures.append(f"{order}: {difference:.2e} in {count} steps on {ranks} ranks")
            everywhere = max(everywhere, largest(mine, figures, 0, recipe.steps))
            if seen(run.with_name(f"{run.name}.data")) != data:
                failures.append(f"{order}: not the same micro-batches")
    for failure in failures:
        print(failure, file=sys.stderr)
    result = {
        "kills": kills,
        "changes_of_ranks": changes,
        "next": args.next,
        "largest_difference_in_the_next_steps": worst,
        "largest_difference_in_all_steps": everywhere,
        "failures": len(failures),
    }
    measure.finish("crash ranks", result)
    return result


def at_step(started: Ranks) -> int:
    """The step that the first rank is in, 0 when it is in none."""
    word = started.doing()[0][0].partition(":")[0]
    return int(word.removeprefix("step ")) if word.startswith("step ") else 0


if __name__ == "__main__":
    sys.exit(1 if main()["failures"] else 0)
