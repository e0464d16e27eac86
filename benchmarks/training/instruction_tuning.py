"""Instruction tuning on text alone: does behaviour change, and what becomes of the scores on pictures?

    python -m benchmarks.training.instruction_tuning --base runs/demo --out runs/instruct [--steps 300]

From one trained base (`make demo` makes one) two runs go on: the recipe `instruct-twin`, and the same without its
instructions, which tells what going on alone does. Then all three answer the held-out instructions, and the picture
book's captioning, visual questions and Raven. Differences are taken item by item, with 95 % intervals of the mean
difference. Called again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from kosmos.api import load
from kosmos.config import TrainConfig, replace
from kosmos.config_files import load_config
from kosmos.data.picturebook.instructions import FAMILIES, held_out_instructions, instruction_document
from kosmos.data.picturebook.reader import shared_book
from kosmos.evaluation.picturebook.runner import TaskResult, evaluate
from kosmos.evaluation.picturebook.tasks import picturebook_tasks
from kosmos.evaluation.statistics.intervals import above, interval, mean, paired_difference
from kosmos.evaluation.task import Task
from kosmos.model.weights import read_config
from kosmos.presets import load_recipe
from kosmos.runs import CONFIG_FILE, WEIGHTS_FILE, resolve
from kosmos.storage import file_sha256
from kosmos.training.loop import train

PICTURE_TASKS = ("captioning", "vqa", "raven_3", "raven_4", "raven_8")
INSTRUCTIONS = "instructions"


def instruction_task() -> Task:
    """The held-out instructions, answered by greedy generation; the whole output must be right."""
    return Task(INSTRUCTIONS, lambda: held_out_instructions(shared_book()), instruction_document, max_new_tokens=10)


def recipes(base: Path, steps: int) -> dict[str, TrainConfig]:
    """instruct-twin from `base` with the base's own model, and its control."""
    found = read_config(resolve(base))
    tuned: TrainConfig = replace(
        load_recipe("instruct-twin", {"steps": steps, "threads": 1}), model=found, start_from=str(base)
    )
    sources = {name: source for name, source in tuned.data.sources.items() if name != "instruction"}
    return {"control": replace(tuned, **{"data.sources": sources}), "instruct": tuned}


def answer(run: Path, out: Path, limit: int | None) -> dict[str, TaskResult]:
    """All tasks for one run; what is finished for the same weights is not done again."""
    folder = resolve(run)
    tasks = [instruction_task(), *(task for task in picturebook_tasks() if task.name in PICTURE_TASKS)]
    return evaluate(load(folder), tasks, out, limit=limit, model_key=file_sha256(folder / WEIGHTS_FILE), quiet=True)


def per_cent(values: Sequence[float]) -> str:
    bound = interval(values)
    return f"{100 * mean(values):.1f} [{100 * bound.low:.1f}, {100 * bound.high:.1f}]"


def behaviour(before: TaskResult, after: TaskResult, limit: int | None) -> tuple[list[dict[str, Any]], bool]:
    """A row for each family, each kind of wording, and all; and whether the intervals of all are disjoint."""
    examples = held_out_instructions(shared_book())[:limit]
    groups: dict[str, list[int]] = {name: [] for name in FAMILIES}
    groups |= {"said as in training": [], "said as never before": [], "all": list(range(len(examples)))}
    for number, example in enumerate(examples):
        groups[example.meta["family"]].append(number)
        groups["said as never before" if example.meta["new_way"] else "said as in training"].append(number)
    rows = []
    for name, chosen in groups.items():
        if chosen:
            then, now = ([result.values[number] for number in chosen] for result in (before, after))
            rows.append({"instructions": name, "n": len(chosen), "before": per_cent(then), "after": per_cent(now)})
    return rows, above(interval(after.values), interval(before.values))


def pictures(results: dict[str, dict[str, TaskResult]]) -> list[dict[str, Any]]:
    """A row for each task on pictures: the three runs, and the paired differences."""

    def paired(first: str, second: str, name: str) -> str:
        middle, bound = paired_difference(results[first][name].values, results[second][name].values)
        return f"{100 * middle:+.1f} [{100 * bound.low:+.1f}, {100 * bound.high:+.1f}]"

    return [
        {
            "task": name,
            "n": results["base"][name].n,
            **{run: f"{100 * results[run][name].score:.1f}" for run in ("base", "control", "instruct")},
            "instruct - base": paired("base", "instruct", name),
            "control - base": paired("base", "control", name),
            "instruct - control": paired("control", "instruct", name),
        }
        for name in PICTURE_TASKS
    ]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes; the figures mean little")
    parser.add_argument("--base", type=Path, required=True, metavar="RUN", help="a trained picture-book model")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the two runs and the answers")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args(arguments)
    steps, limit = (24, 24) if args.small else (args.steps, None)
    runs = {"base": args.base}
    for name, recipe in recipes(args.base, steps).items():
        runs[name] = args.out / name
        known = runs[name] / CONFIG_FILE
        if known.exists() and load_config(known, TrainConfig).steps != steps:
            raise SystemExit(f"{runs[name]} was made with other steps; choose another --out")
        train(recipe, runs[name], resume=True)
    results = {name: answer(run, args.out / "answers" / name, limit) for name, run in runs.items()}
    rows, disjoint = behaviour(results["base"][INSTRUCTIONS], results["instruct"][INSTRUCTIONS], limit)
    print(f"\nHeld-out instructions, whole outputs right, per cent with 95 % intervals; {steps} steps\n")
    print(measure.table(rows, ["instructions", "n", "before", "after"]))
    print(f"\nall: the intervals before and after are {'disjoint' if disjoint else 'not disjoint'}")
    control = results["control"][INSTRUCTIONS]
    print(f"the control, which saw no instruction: {per_cent(control.values)}")
    shown = pictures(results)
    print("\nScores on pictures, per cent; differences item by item with 95 % intervals\n")
    print(measure.table(shown, list(shown[0])))
    result = {
        "steps": steps,
        "instructions": {
            "n": results["base"][INSTRUCTIONS].n,
            **{name: found[INSTRUCTIONS].score for name, found in results.items()},
            "disjoint": disjoint,
        },
        "pictures": shown,
    }
    measure.finish("instruction tuning", result)
    return result


if __name__ == "__main__":
    main()
