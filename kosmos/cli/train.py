"""Train a model from a recipe.

examples:
  kosmos train recipe.yaml --out runs/mine
  kosmos train recipe.yaml --out runs/mine --optimizer.lr 1e-4 --steps 2K
  kosmos train runs/mine/config.yaml --out runs/mine --resume
  kosmos train recipe.yaml --keys
  kosmos train kosmos-1 --out runs/kosmos-1 --data.root /data

RECIPE is a YAML file, or the name of a packaged one (`kosmos recipes`).
Every key of the recipe is an option too, with dots: preset < file < command line. Values are YAML (`null`, `[16, 32]`);
2K is two thousand. Ctrl-C saves a checkpoint first; `--resume` goes on from the newest whole one, to the same result
as if the run had never stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.errors import UsageError

# Options that the parser does not know are keys of the configuration.
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="RECIPE", help="a YAML file, or the name of a packaged recipe")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory; an empty or new one, unless --resume")
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    parser.add_argument(
        "--random-vision", action=argparse.BooleanOptionalAction, help="allow a frozen vision tower with random weights"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress; errors only")
    parser.add_argument("--keys", action="store_true", help="print every key of the recipe with its meaning, and stop")


def run(args: argparse.Namespace) -> int:
    from kosmos.cli.overrides import describe, read_overrides
    from kosmos.presets import load_recipe

    overrides = read_overrides(args.overrides)
    if args.random_vision is not None:
        overrides.append(f"random_vision={str(args.random_vision).lower()}")
    config = load_recipe(args.config, overrides)
    if args.keys:
        print(describe(config))
        return 0
    if args.out is None:
        raise UsageError("the run needs a folder: --out DIR")
    from kosmos.training.loop import train

    train(config, args.out, resume=args.resume, quiet=args.quiet)
    return 0
