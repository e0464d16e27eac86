"""Hand a trained model on: as a folder of ours, of transformers, or as a Kosmos-2.

examples:
  kosmos export runs/demo shared/demo
  kosmos export runs/demo shared/demo-transformers --format transformers
  kosmos export models/kosmos-2 shared/kosmos-2 --format kosmos2 --licence mit

RUN is a run directory (its latest step), a step or a model folder. OUT is new; it gets safetensors, the tokenizer, the
preprocessing and a model card (README.md): parameters, data, evaluation, limits and misuse, as far as the run tells.
  kosmos        what every verb here reads: config.yaml, model.safetensors, tokenizer, processor.yaml
  transformers  loads with transformers alone (trust_remote_code)
  kosmos2       loads with transformers' Kosmos2ForConditionalGeneration; only sinusoidal models with a CLIP tower
Before OUT is there, the logits of both sides are compared on rows of text and pictures. What a format cannot express is
refused with all reasons.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.user_modules import add_import_option, import_modules

FORMATS = ("kosmos", "transformers", "kosmos2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory, step or model folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder")
    parser.add_argument("--format", choices=FORMATS, default="kosmos", help="default: kosmos")
    parser.add_argument(
        "--licence", "--license", metavar="NAME", help="the hub's short name of it, as mit (default: unknown)"
    )
    parser.add_argument("--skip-check", action="store_true", help="do not compare both sides (for lack of memory)")
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    from kosmos.interop.export import export

    export(args.run, args.out, args.format, licence=args.licence, check=not args.skip_check)
    print(f"{args.out}: written")
    return 0
