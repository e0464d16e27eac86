"""The options of the machine that every verb with an engine has."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos.cli.user_modules import add_import_option

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    machine = parser.add_argument_group("machine")
    machine.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    machine.add_argument(
        "--prefill-precision", choices=("fp32", "bf16"), metavar="P", help="of reading prompts (default: the same)"
    )
    machine.add_argument("--quantization", choices=("int8",), help="decode with int8 weights")
    machine.add_argument("--static-decode", action="store_true", help="steps of fixed shape; on a GPU, CUDA graphs")
    machine.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:1 ...")
    machine.add_argument(
        "--image-cache", type=Path, metavar="DIR", help="keep embeddings of pictures there for later commands"
    )
    add_import_option(parser)


def score_options(args: argparse.Namespace) -> dict[str, str | None]:
    """Those of the options that change scores."""
    return {name: getattr(args, name) for name in ("precision", "prefill_precision", "quantization")}


def open_engine(args: argparse.Namespace, max_slots: int, pictures_per_call: int | None = None) -> Engine:
    """The engine that the options ask for, with room for so many prompts."""
    from kosmos.api import load

    return load(
        args.run,
        precision=args.precision,
        prefill_precision=args.prefill_precision,
        quantization=args.quantization,
        static_decode=args.static_decode,
        device=args.device,
        max_slots=max_slots,
        image_cache_dir=args.image_cache,
        pictures_per_call=pictures_per_call,
    )
