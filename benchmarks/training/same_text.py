"""The language-only twin's text is the multimodal twin's, bit for bit: one hash of the rows of each.

    python -m benchmarks.training.same_text --tokenizer runs/demo/tokenizer [--steps 50]

What is hashed of every step: its number, the place of each micro-batch of text (dropout is seeded by it), token ids,
and which of them are supervised.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from kosmos.config import TrainConfig
from kosmos.data.stream import build_stream
from kosmos.presets import load_recipe
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer

TWINS = ("kosmos-1-twin", "llm-baseline-twin")


def text_hash(config: TrainConfig, tokenizer: Tokenizer, steps: int) -> tuple[str, int, int]:
    """(sha256, tokens of text, pictures) of the first steps of a recipe."""
    stream = build_stream(config.data, Processor(tokenizer, config.model), config.seed)
    digest = hashlib.sha256()
    tokens = images = 0
    for _ in range(steps):
        step = next(stream)
        tokens += step.counts["text"].tokens
        images += sum(counts.images for counts in step.counts.values())
        for batch in step.batches:
            if batch.source == "text":
                digest.update(f"{step.number} {batch.number} {list(batch.token_ids.shape)}".encode())
                digest.update(batch.token_ids.numpy().tobytes() + batch.supervised.numpy().tobytes())
    return digest.hexdigest(), tokens, images


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes; the figures mean little")
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="MODEL")
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args(arguments)
    steps = 3 if args.small else args.steps
    tokenizer = Tokenizer.load(args.tokenizer)
    rows = []
    for name in TWINS:
        found, tokens, images = text_hash(load_recipe(name), tokenizer, steps)
        rows.append({"recipe": name, "tokens of text": tokens, "pictures": images, "sha256 of the text": found})
    print(f"\nThe first {steps} steps\n")
    print(measure.table(rows, list(rows[0])))
    same = len({row["sha256 of the text"] for row in rows}) == 1
    print(f"\nthe text is {'the same' if same else 'NOT the same'}")
    result = {"steps": steps, "same": same, "rows": rows}
    measure.finish("same text", result)
    return result


if __name__ == "__main__":
    main()
