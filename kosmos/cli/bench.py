"""Measure how fast this machine runs a model, against what the machine allows.

examples:
  kosmos bench infer runs/demo
  kosmos bench infer runs/demo --quantization int8 --batch-sizes 1,4,16
  kosmos bench infer --shape kosmos-1 --layers 8 --width 512 --vocabulary 8000
  kosmos bench infer --shape kosmos-1 --precision bf16 --batch-sizes 1 --new-tokens 8

Printed first: parameters, bytes that a decode step reads, keys and values per token, the memory bandwidth and the
matrix-product peak of this machine, measured, and the tokens a second that follow from them. Then what is reached:
reading a prompt, the time to the first token, and decoding at each batch size. The last line is all of it as JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos.cli.parser import positive
from kosmos.cli.tables import print_table, readable_bytes
from kosmos.errors import UsageError

if TYPE_CHECKING:
    from kosmos.inference.bench import Card, Speeds
    from kosmos.inference.effect import Effect
    from kosmos.inference.engine import Engine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    infer = actions.add_parser("infer", help="reading prompts and decoding")
    infer.epilog = (
        "examples:\n"
        "  kosmos bench infer runs/demo --quantization int8\n"
        "  kosmos bench infer --shape kosmos-1 --layers 8 --width 512 --vocabulary 8000 --batch-sizes 1,8\n\n"
        "A shape has random weights, and nothing is said about pictures: only the decoder runs."
    )
    infer.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run directory, a step, or a model folder")
    infer.add_argument("--shape", metavar="PRESET", help="random weights of this configuration instead of a RUN")
    infer.add_argument("--layers", type=positive, default=0, metavar="N", help="another number of layers")
    infer.add_argument("--width", type=positive, default=0, metavar="N", help="another hidden size (inner width 4 N)")
    infer.add_argument("--vocabulary", type=positive, default=0, metavar="N", help="another vocabulary")
    infer.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    infer.add_argument(
        "--prefill-precision", choices=("fp32", "bf16"), metavar="P", help="of reading prompts (default: the same)"
    )
    infer.add_argument("--quantization", choices=("int8",), help="decode with int8 weights")
    infer.add_argument("--static-decode", action="store_true", help="steps of fixed shape; on a GPU, CUDA graphs")
    infer.add_argument("--batch-sizes", type=_sizes, default=(1, 4, 16), metavar="N,N", help="default: 1,4,16")
    infer.add_argument("--prompt-tokens", type=positive, default=0, metavar="N", help="default: 512, or what fits")
    infer.add_argument("--new-tokens", type=positive, default=0, metavar="N", help="default: 64, or what fits")
    infer.add_argument("--repeats", type=positive, default=3, metavar="N", help="runs of which the median counts (3)")
    infer.add_argument("--threads", type=positive, default=0, metavar="N", help="of the CPU (default: all cores)")
    infer.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:1 ...")


def run(args: argparse.Namespace) -> int:
    if (args.run is None) == (args.shape is None):
        raise UsageError("give a RUN or a --shape, one of them")
    if args.shape is None and (args.layers or args.width or args.vocabulary):
        raise UsageError("--layers, --width and --vocabulary change a --shape; a RUN has its own")
    if args.new_tokens == 1:
        raise UsageError("--new-tokens is 1, but the first token costs no step; give 2 or more")
    import torch

    from kosmos.inference.bench import card, measure

    if args.threads:
        torch.set_num_threads(args.threads)
    engine, plain = _engines(args)
    new_tokens = args.new_tokens or min(64, engine.max_length // 4)
    if new_tokens >= engine.max_length:
        raise UsageError(
            f"--new-tokens is {new_tokens:,}, but the model has {engine.max_length:,} positions, the prompt's among "
            "them; give fewer"
        )
    found = card(engine)
    print("\n".join(_card_lines(found)))
    prompt_tokens = args.prompt_tokens or min(512, engine.max_length - new_tokens)
    speeds = measure(engine, found, args.batch_sizes, prompt_tokens, new_tokens, args.repeats)
    print("\n".join(_speed_lines(speeds)))
    rows = [
        [str(s.batch_size), f"{s.tokens_per_second:,.1f}", f"{s.ceiling:,.1f}", f"{100 * s.fraction:.0f} %"]
        for s in speeds.decode
    ]
    print_table(["batch", "tokens/s", "ceiling", "of it"], rows)
    changed = _effect(engine, plain)
    if changed is not None:
        print(_effect_line(changed))
    decode = [{**asdict(speed), "fraction": speed.fraction} for speed in speeds.decode]
    everything = {
        "card": asdict(found),
        "speeds": {**asdict(speeds), "decode": decode},
        "effect": None if changed is None else asdict(changed),
    }
    print(json.dumps(everything))
    return 0


def _engines(args: argparse.Namespace) -> tuple[Engine, Engine | None]:
    """The engine to measure, and a plain one over the same weights where its scores may differ."""
    import torch

    from kosmos.api import find_device
    from kosmos.inference.bench import random_model, shaped, small_processor
    from kosmos.inference.engine import Engine
    from kosmos.model.kosmos import Kosmos
    from kosmos.presets import load_preset
    from kosmos.processor import Processor
    from kosmos.runs import resolve

    device = find_device(args.device)
    if args.shape is not None:
        config = shaped(load_preset(args.shape), args.layers, args.width, args.vocabulary)
        # Weights of the type they are used in: the full size in fp32 is 5.4 GB.
        dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
        model = random_model(config, dtype, device)
        processor = small_processor(config)
    else:
        folder = resolve(args.run)
        model = Kosmos.from_pretrained(folder).to(device)
        processor = Processor.load(folder)
    engine = Engine(
        model,
        processor,
        max_slots=max(args.batch_sizes),
        precision=args.precision,
        prefill_precision=args.prefill_precision,
        quantization=args.quantization,
        static_decode=args.static_decode,
    )
    if args.quantization is None and "bf16" not in (args.precision, args.prefill_precision):
        return engine, None
    in_bf16 = model.head_weight.dtype == torch.bfloat16
    if in_bf16 and args.quantization is None:
        return engine, None  # the weights themselves are bf16: there is nothing to compare with
    return engine, Engine(model, processor, max_slots=1, precision="bf16" if in_bf16 else "fp32")


def _effect(engine: Engine, plain: Engine | None) -> Effect | None:
    from kosmos.inference.bench import effect

    return None if plain is None else effect(engine, plain)


def _card_lines(card: Card) -> list[str]:
    kind = card.precision if card.quantization is None else f"{card.quantization}, the rest {card.precision}"
    return [
        f"device           {card.device}, {card.threads} threads",
        f"parameters       {card.parameters:,} ({kind})",
        f"a step reads     {readable_bytes(card.weight_bytes)} of weights",
        f"keys and values  {readable_bytes(card.kv_bytes_per_token)} a token",
        f"bandwidth        {card.bandwidth / 1e9:.1f} GB/s (measured)",
        f"matrix products  {card.matmul_peak / 1e12:.3g} TFLOP/s (measured)",
        f"ceiling          {card.ceiling(1, 0):,.1f} tokens/s for one row",
    ]


def _speed_lines(speeds: Speeds) -> list[str]:
    rate = speeds.prompt_tokens / speeds.prefill_seconds
    return [
        f"prompt           {speeds.prompt_tokens} tokens in {1000 * speeds.prefill_seconds:.1f} ms: {rate:,.0f} "
        f"tokens/s, {100 * speeds.prefill_mfu:.0f} % of the peak",
        f"first token      {1000 * speeds.first_token_seconds:.1f} ms",
    ]


def _effect_line(effect: Effect) -> str:
    return (
        f"scores           log-probabilities change by {effect.mean:.2g} on average, {effect.largest:.2g} at most; "
        f"{100 * effect.same_greedy:.0f} % of {effect.num_tokens} greedy tokens stay"
    )


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(positive(part) for part in text.split(","))
