"""Results of made-up benchmarks, with pictures and captions too, for the tests of what is made of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from kosmos.document import Document, Image, Text
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.reporting.results import Results, load_results
from kosmos.evaluation.running.benchmark_runner import RunSettings, run_benchmarks
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.plan import Plan, make_plan
from kosmos.example import Example
from tests.evaluation.toy import SOURCE, FreeEngine, fits, toy


def read_pictures(folder: Path, split: str) -> list[Example]:
    """Twelve squares, each of its own grey; `label` for choices, `answers` for captions."""
    return [
        Example(f"{n:02}", {"label": n % 2, "answers": [f"a square of grey {n}", f"word {n}"]}, (Image(square(n)),))
        for n in range(12)
    ]


def square(shade: int, size: int = 300) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (size, size), (shade * 20, shade * 20, shade * 20)).save(file, "PNG")
    return file.getvalue()


def captions(name: str = "toy_captions", title: str = "Toy captions") -> Benchmark:
    prompt = Prompt("paper", lambda e: Document(*e.images, Text(f"{e.id}: An image of", False)), lambda e: " it")
    return Benchmark(
        name, title, "captioning", "generate", read_pictures, "test", (prompt,), ("cider", "rouge_l"), SOURCE,
        num_examples={"test": 12}, decoding={"max_new_tokens": 5},
    )  # fmt: skip


def accurate(name: str = "toy_choice", title: str = "Toy") -> Benchmark:
    """The toy of choices, with the real metric and a second prompt."""
    plain = toy()
    other = Prompt(
        "other.1", lambda e: Document("Now:", plain.prompt().context(e)[0]), plain.prompt().answer,
        plain.prompt().candidates, separator="</s>", note="another way to ask",
    )  # fmt: skip
    return toy(name=name, title=title, metrics=("accuracy",), prompts=(plain.prompts[0], other), note="made up")


def plan_of(cells: Sequence[Cell], limit: int | None = None) -> Plan:
    return make_plan(cells, lambda benchmark: Path(), fits, latents=4, limit=limit)


def evaluate(out: Path, cells: Sequence[Cell], key: str = "weights", limit: int | None = None) -> Results:
    facts = {"model": f"runs/{key}", "data": "eval-data", "precision": "fp32", "device": "cpu"}
    settings = RunSettings(out, key, skip_broken=True, facts=facts)
    run_benchmarks(FreeEngine(salt=key), plan_of(cells, limit), settings)
    return load_results(out)
