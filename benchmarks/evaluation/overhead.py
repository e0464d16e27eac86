"""What the evaluation runner costs by itself: an engine that answers for nothing, 10,000 requests.

    python -m benchmarks.evaluation.overhead [--requests 10000]

Choices with four demonstrations, one request each: drawing demonstrations, building and hashing prompts, writing and
syncing responses, samples and metrics. lm-eval needs about 2.5 ms a request for the same.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kosmos.document import Document
from kosmos.evaluation.benchmark import Benchmark, Prompt, Source
from kosmos.evaluation.running.benchmark_runner import RunSettings, run_benchmarks
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.plan import make_plan
from kosmos.example import Example
from kosmos.inference.generation import Score


class FreeEngine:
    """Answers by the length of what it is asked."""

    def score(self, documents: Sequence[Document], candidates: Sequence[Sequence[str]]) -> list[list[Score]]:
        return [[Score(-float(len(document) + len(text)), 2) for text in texts]
                for document, texts in zip(documents, candidates)]  # fmt: skip

    def generate(self, documents: Sequence[Document], **options: Any) -> list[Any]:
        raise NotImplementedError("this benchmark asks for choices only")


def benchmark(count: int) -> Benchmark:
    """`count` made-up questions of about 400 characters."""

    def read(folder: Path, split: str) -> list[Example]:
        return [
            Example(
                f"{split}-{n}",
                {"question": f"{split} {n}: " + "what is it that the passage says? " * 12, "label": n % 2},
            )
            for n in range(count if split == "test" else 1000)
        ]

    prompt = Prompt(
        "paper",
        lambda example: Document(f"{example.fields['question']} Answer:"),
        lambda example: (" no", " yes")[example.fields["label"]],
        candidates=lambda example: (" no", " yes"),
        separator="</s>",
    )
    return Benchmark(
        name="free",
        title="Free",
        group="language",
        mode="choice",
        read=read,
        split="test",
        prompts=(prompt,),
        metrics=("accuracy",),
        source=Source("", "made up", ()),
        shots=(0, 4),
        demonstration_split="train",
        num_examples={"test": count},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10000)
    args = parser.parse_args()
    made = benchmark(args.requests)
    with tempfile.TemporaryDirectory() as folder:
        begin, cpu = time.perf_counter(), time.process_time()
        plan = make_plan([Cell(made, made.prompt(), 4)], lambda name: Path(folder), lambda *_: True, latents=1)
        run_benchmarks(FreeEngine(), plan, RunSettings(Path(folder), "free"))
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
        begin = time.perf_counter()
        run_benchmarks(FreeEngine(), plan, RunSettings(Path(folder), "free"))
        again = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "benchmark": "evaluation.overhead",
                "requests": args.requests,
                "ms_a_request": round(seconds / args.requests * 1000, 4),
                "cpu_ms_a_request": round(cpu_seconds / args.requests * 1000, 4),
                "ms_a_request_resumed": round(again / args.requests * 1000, 4),
                "goal_ms": 0.2,
            }
        )
    )


if __name__ == "__main__":
    main()
