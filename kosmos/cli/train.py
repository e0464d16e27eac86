"""Train a model from a recipe.

examples:
  kosmos train recipe.yaml --out runs/mine
  kosmos train recipe.yaml --out runs/mine --optimizer.lr 1e-4 --steps 2K
  kosmos train runs/mine/config.yaml --out runs/mine --resume
  kosmos train recipe.yaml --keys
  kosmos train kosmos-1 --dry-run --hardware h100 --ranks 64
  kosmos train kosmos-1 --out runs/kosmos-1 --data.root /data

RECIPE is a YAML file, or the name of a packaged one (`kosmos recipes`).
Every key of the recipe is an option too, with dots: preset < file < command line. Values are YAML (`null`, `[16, 32]`);
2K is two thousand. Ctrl-C saves a checkpoint first; `--resume` goes on from the newest whole one, to the same result
as if the run had never stopped. Relative paths in a recipe are taken from the working directory (or from data.root);
the run's own config.yaml has them absolute.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from kosmos.cli import dry_run
from kosmos.cli.user_modules import add_import_option, import_modules
from kosmos.errors import Interrupted, UsageError

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
    dry_run.add_arguments(parser)
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    from kosmos.cli.overrides import describe, read_overrides
    from kosmos.presets import load_recipe

    overrides = read_overrides(args.overrides)
    if args.random_vision is not None:
        overrides.append(f"random_vision={str(args.random_vision).lower()}")
    config = load_recipe(args.config, overrides)
    if args.keys:
        print(describe(config))
        return 0
    if args.dry_run:
        return dry_run.run(args, config)
    if args.out is None:
        raise UsageError("the run needs a folder: --out DIR")
    # Whom torchrun has started again was allowed to begin; what there is to go on from, the run itself finds out.
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if args.resume and not again and not (args.out / "config.yaml").is_file():
        what = "holds no run to resume" if args.out.exists() else "no such run to resume"
        raise UsageError(f"{args.out}: {what}; look at the name, or leave out --resume to begin a run")
    from kosmos.training.loop import train

    try:
        train(config, args.out, resume=args.resume, quiet=args.quiet)
    except (Interrupted, KeyboardInterrupt) as stop:
        raise Interrupted(f"{str(stop) or f'{args.out}: interrupted'}{_how_to_go_on(args.out)}") from stop
    if not args.quiet and os.environ.get("RANK", "0") == "0":
        print(f"{args.out}: trained {config.steps:,} steps; next: {_next(args.out, config.model.vision is not None)}")
    return 0


def _how_to_go_on(out: Path) -> str:
    if not (out / "config.yaml").is_file():
        return "; nothing was written"
    return f"; go on: kosmos train {out / 'config.yaml'} --out {out} --resume"


def _next(out: Path, sees: bool) -> str:
    return f'kosmos generate {out} -i PICTURE.png "An image of"' if sees else f'kosmos generate {out} "TEXT"'
