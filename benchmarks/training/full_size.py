"""The full-size model's training step on one GPU: speed, MFU, memory, wait for data, stall of a save, determinism.

    python -m benchmarks.training.full_size FOLDER [--minutes 8.5] [--steps 40] [--micro 4] [--compile] [--small]

Three cases, each in a process of its own, on synthetic corpora in the paper's proportions: `kosmos-1` whole (1.66 B),
with asynchronous checkpoints; `text`, the language-only baseline; `deterministic`, the first one without checkpoints
and with kernels that give the same bits each time. CLIP's weights are random, which costs the same.

Called again with the same FOLDER, `kosmos-1` goes on from its last checkpoint, and the time until its first step is
shown. FOLDER needs 40 GB: a checkpoint is 17.6 GB, and the one before stays until the next is whole. Steps that came
before the third are not counted. Two calls of under 9 minutes are what one GPU wants.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data import measure, synthetic
from kosmos.config import CorpusConfig, DecoderConfig, ModelConfig, ResamplerConfig, TrainConfig, VisionConfig
from kosmos.config import replace as change
from kosmos.errors import Interrupted
from kosmos.presets import load_recipe

CASES = ("kosmos-1", "text", "deterministic")
COLUMNS = ["case", "steps", "from step", "first step after s", "s a step", "tokens/s", "images/s", "MFU %",
           "data wait %", "peak GB", "save stalls s", "slowest step s"]  # fmt: skip
_WARM_UP = 2


class Enough(Exception):
    """So many steps were wanted; nothing is to be saved."""


def small_model(words: int) -> ModelConfig:
    decoder = DecoderConfig(num_layers=1, hidden_size=32, ffn_size=64, num_heads=2, vocab_size=words)
    vision = VisionConfig(image_size=28, hidden_size=16, num_layers=2, num_heads=2, ffn_size=32)
    return ModelConfig(decoder, vision, ResamplerConfig(num_heads=2))


def corpora(folder: Path, small: bool) -> dict[str, CorpusConfig]:
    """One of each kind; written once."""
    made = {
        "text": ("jsonl", lambda place: synthetic.write_text(place, 2, (1 if small else 32) << 20)),
        "pairs": ("pairs_tar", lambda place: synthetic.write_pairs(place, 2, 40 if small else 4000, pictures=200)),
        "interleaved": (
            "interleaved_tar",
            lambda place: synthetic.write_interleaved(place, 2, 20 if small else 1000, pictures=200),
        ),
    }
    for name, (_, write) in made.items():
        if not (folder / name).exists():
            write(folder / f"{name}.new")
            (folder / f"{name}.new").rename(folder / name)
    return {name: CorpusConfig(reader, str(folder / name)) for name, (reader, _) in made.items()}


def recipe(case: str, args: argparse.Namespace) -> TrainConfig:
    """`kosmos-1`, or `llm-baseline`, with fewer rows a step and corpora of its own."""
    found = corpora(args.folder, args.small)
    tokenizer = synthetic.tokenizer(args.tokenizer, args.folder)
    config = load_recipe("llm-baseline" if case == "text" else "kosmos-1")
    micro = 1 if args.small else args.micro
    many = 1 if args.small else 5
    rows = {"text": many * micro, "pairs": many * micro, "interleaved": max(1, many // 2) * micro}  # 244 : 244 : 98
    sources = {
        name: replace(source, rows_per_step=rows[name], micro_batch_rows=micro, corpora=(found[name],))
        for name, source in config.data.sources.items()
    }
    saves = case == "kosmos-1"
    changed: TrainConfig = change(
        config,
        **{
            "data.sources": sources,
            "data.root": "",
            "data.workers": 0 if args.small else max(1, min(12, (os.cpu_count() or 1) - 2)),
            "tokenizer": args.tokenizer or str(args.folder / "tokenizer.model"),
            "random_vision": True,
            "deterministic": case == "deterministic",
            "parallel.compile": args.compile,
            "checkpoint_every": max(1, args.steps // 2) if saves else 10**9,
            "keep_checkpoints": 1,
            "keep_every": 0,
            "threads": 1 if args.small else 0,
            "on_nonfinite": "stop",
        },
    )
    if args.small:
        model = small_model(tokenizer.vocab_size)
        changed = change(changed, model=replace(model, vision=None) if case == "text" else model)
    elif changed.model.vision is not None:
        changed = change(changed, **{"model.vision.pretrained": None})
    return changed


def run_case(case: str, args: argparse.Namespace, train: Callable[..., Path]) -> None:
    """Train for so many steps or seconds; `kosmos-1` ends with a checkpoint, the others with nothing."""
    run, begin, seen = args.folder / f"run-{case}", time.monotonic(), 0

    def on_step(record: dict[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            notes = {"from": record["step"], "first_step_after": time.monotonic() - begin}
            (args.folder / f"{case}.json").write_text(json.dumps(notes))
        if seen < args.steps and time.monotonic() - begin < args.seconds:
            return
        if case != "kosmos-1":
            raise Enough
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(recipe(case, args), run, resume=run.exists(), quiet=args.small, on_step=on_step)
    except (Enough, Interrupted) as end:
        print(f"{case}: {str(end) or 'enough'}", file=sys.stderr)


def figures(case: str, folder: Path) -> dict[str, Any]:
    """A row of the table: medians over the steps of the last call."""
    notes = json.loads((folder / f"{case}.json").read_text())
    lines = [json.loads(line) for line in (folder / f"run-{case}" / "metrics.jsonl").read_text().splitlines()]
    timings = [line["timing"] for line in lines if line["step"] >= notes["from"]]
    counted = timings[_WARM_UP:] or timings
    median = {key: statistics.median(timing[key] for timing in counted) for key in counted[0] if key != "checkpoint"}
    stalls = [timing["checkpoint"] for timing in timings if "checkpoint" in timing]
    return {
        "case": case,
        "steps": len(counted),
        "from step": notes["from"],
        "first step after s": notes["first_step_after"],
        "s a step": median["seconds"],
        "tokens/s": median["tokens_per_second"],
        "images/s": median["images_per_second"],
        "MFU %": 100 * median["mfu"],
        "data wait %": median["data_wait_percent"],
        "peak GB": max(timing["peak_memory"] for timing in timings) / 1e9,
        "save stalls s": ", ".join(f"{stall:.2f}" for stall in stalls) or "none",
        "slowest step s": max(timing["seconds"] for timing in counted),
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--minutes", type=float, default=8.5, help="of this call; what does not fit is left out")
    options.add_argument("--steps", type=int, default=40, help="of each case in this call")
    options.add_argument("--micro", type=int, default=4, help="rows of a micro-batch; a step has 12 times as many")
    options.add_argument("--compile", action="store_true")
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--tokenizer", default="", help="a SentencePiece model file; default: trained on the spot")
    options.add_argument("--small", action="store_true", help="a tiny model: only to see that it runs")
    options.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)  # of one case, in its process
    arguments = sys.argv[1:] if argv is None else argv
    args = options.parse_args(arguments)
    if args.seconds:
        from kosmos.training.loop import train

        run_case(args.cases[0], args, train)
        return {}
    end = time.monotonic() + 60 * args.minutes
    args.folder.mkdir(parents=True, exist_ok=True)
    recipe("kosmos-1", args)  # corpora and tokenizer are no case's time
    rows = []
    for number, case in enumerate(args.cases):
        # A minute of each case goes into building the model, and as much into the save at its end.
        left = (end - time.monotonic()) / (len(args.cases) - number) - (0 if args.small else 100)
        if left <= 0:
            print(f"{case}: no time left; call again with --cases {case}", file=sys.stderr)
            continue
        command = [sys.executable, "-m", "benchmarks.training.full_size", *arguments, "--cases", case]
        if case != "kosmos-1":
            shutil.rmtree(args.folder / f"run-{case}", ignore_errors=True)
        if subprocess.run([*command, "--seconds", str(left)]).returncode:
            print(f"{case}: failed", file=sys.stderr)
            continue
        rows.append(figures(case, args.folder))
        print(measure.table(rows[-1:], COLUMNS), flush=True)
    print(measure.table(rows, COLUMNS))
    seconds = {row["case"]: row["s a step"] for row in rows}
    cost = seconds["deterministic"] / seconds["kosmos-1"] - 1 if {"deterministic", "kosmos-1"} <= set(seconds) else None
    if cost is not None:
        print(f"deterministic: {100 * cost:+.1f} % of a step")
    result = {"rows": rows, "deterministic_cost": cost, "micro": args.micro, "compile": args.compile}
    measure.finish("full size", result)
    return result


if __name__ == "__main__":
    sys.exit(0 if main() is not None else 1)
