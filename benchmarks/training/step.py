"""One training step: ours against transformers' Kosmos2 text model (SDPA, fused AdamW), same shapes, same machine.

    python -m benchmarks.training.step [--pairs 7] [--threads 2] [--profile] [--small]

8 layers of width 512, 4 rows of 512 tokens, vocabulary 8,000; fp32 and bf16 (autocast), dropout 0 and 0.1. The two take
turns, one step each, and the median of the ratios of neighbouring steps is reported, so that a machine that gets slower
slows both. `--profile` adds the share of matrix products in our step and what that share leaves to be won.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import Kosmos2TextConfig
from transformers.models.kosmos2.modeling_kosmos2 import Kosmos2TextForCausalLM

from kosmos.batch import Batch
from kosmos.config import DecoderConfig, ModelConfig, OptimizerConfig, Precision
from kosmos.model.kosmos import Kosmos
from kosmos.training.optimizer import Optimizer
from kosmos.training.precision import autocast
from kosmos.training.step import TrainingModule, train_step
from kosmos.training.world import World

CPU = torch.device("cpu")
_PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::linear", "aten::mkldnn_linear")


def shape(small: bool) -> dict[str, int]:
    """Sizes of the model and the batch."""
    if small:
        return {"layers": 2, "width": 64, "heads": 4, "vocabulary": 500, "rows": 2, "tokens": 32}
    return {"layers": 8, "width": 512, "heads": 8, "vocabulary": 8000, "rows": 4, "tokens": 512}


def ours(size: dict[str, int], dropout: float, precision: Precision) -> Callable[[Batch], float]:
    """A step of ours: the trainer's own."""
    decoder = DecoderConfig(
        num_layers=size["layers"],
        hidden_size=size["width"],
        ffn_size=4 * size["width"],
        num_heads=size["heads"],
        vocab_size=size["vocabulary"],
        max_positions=size["tokens"],
        dropout=dropout,
        attention_dropout=dropout,
    )
    torch.manual_seed(0)
    model = Kosmos(ModelConfig(decoder=decoder, vision=None)).train()
    module = TrainingModule(model)
    optimizer = Optimizer(model, OptimizerConfig(lr=1e-4, warmup_steps=1), 10**6)
    world = World(0, 1, CPU)
    steps = iter(range(1, 10**6))

    def step(batch: Batch) -> float:
        return train_step(module, optimizer, [batch], step=next(steps), seed=1, world=world, precision=precision).loss

    return step


def theirs(size: dict[str, int], dropout: float, precision: Precision) -> Callable[[Batch], float]:
    """A step of transformers' model, as its users write it: clip to 2.0, fused AdamW, loss over all tokens."""
    config = Kosmos2TextConfig(
        layers=size["layers"],
        embed_dim=size["width"],
        ffn_dim=4 * size["width"],
        attention_heads=size["heads"],
        vocab_size=size["vocabulary"],
        max_position_embeddings=size["tokens"],
        dropout=dropout,
        attention_dropout=dropout,
        activation_dropout=0.0,
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    model = Kosmos2TextForCausalLM(config).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01, fused=True
    )

    def step(batch: Batch) -> float:
        with autocast(precision, CPU):
            loss = model(input_ids=batch.token_ids, labels=batch.token_ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def timed(step: Callable[[Batch], float], batch: Batch) -> float:
    begin = time.perf_counter()
    step(batch)
    return time.perf_counter() - begin


def measure(size: dict[str, int], dropout: float, precision: Precision, pairs: int) -> dict[str, Any]:
    """Medians of one case."""
    torch.manual_seed(1)
    tokens = torch.randint(4, size["vocabulary"], (size["rows"], size["tokens"]))
    batch = Batch(tokens, torch.ones_like(tokens, dtype=torch.bool))
    mine, other = ours(size, dropout, precision), theirs(size, dropout, precision)
    for _ in range(2):
        mine(batch), other(batch)
    ratios, mine_seconds, other_seconds = [], [], []
    for turn in range(pairs):
        # Who goes first alternates.
        first, second = (mine, other) if turn % 2 == 0 else (other, mine)
        a, b = timed(first, batch), timed(second, batch)
        own, foreign = (a, b) if turn % 2 == 0 else (b, a)
        ratios.append(foreign / own)
        mine_seconds.append(own)
        other_seconds.append(foreign)
    count = size["rows"] * size["tokens"]
    return {
        "precision": precision,
        "dropout": dropout,
        "ours_tokens_per_second": round(count / statistics.median(mine_seconds)),
        "theirs_tokens_per_second": round(count / statistics.median(other_seconds)),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def profile(size: dict[str, int], dropout: float, precision: Precision) -> dict[str, Any]:
    """Where our step's time goes: the largest operations, and the share of matrix products."""
    tokens = torch.randint(4, size["vocabulary"], (size["rows"], size["tokens"]))
    batch = Batch(tokens, torch.ones_like(tokens, dtype=torch.bool))
    step = ours(size, dropout, precision)
    for _ in range(2):
        step(batch)
    with torch.profiler.profile() as recorded:
        for _ in range(3):
            step(batch)
    events = sorted(recorded.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    products = sum(event.self_cpu_time_total for event in events if event.key in _PRODUCTS)
    largest = {event.key: round(event.self_cpu_time_total / total, 3) for event in events[:14]}
    return {
        "precision": precision,
        "dropout": dropout,
        "share_of_matrix_products": round(products / total, 3),
        # If everything else cost nothing, the step would be so many times faster.
        "at_most_faster": round(total / products, 2) if products else None,
        "largest": largest,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--small", action="store_true", help="a tiny model: only to see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size = shape(args.small)
    cases: list[dict[str, Any]] = []
    profiles: list[dict[str, Any]] = []
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        for dropout in (0.0, 0.1):
            cases.append(measure(size, dropout, precision, args.pairs))
            print(cases[-1], flush=True)
            if args.profile:
                profiles.append(profile(size, dropout, precision))
                print(profiles[-1], flush=True)
    print(json.dumps({"benchmark": "training.step", "threads": args.threads, "size": size, "cases": cases,
                      "profiles": profiles, "torch": torch.__version__}))  # fmt: skip


if __name__ == "__main__":
    main()
