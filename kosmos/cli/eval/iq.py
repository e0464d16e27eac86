"""Make stand-ins for the unreleased IQ test, in the format that the dataset iq50 reads.

examples:
  kosmos eval iq make --n 50 --out eval-data/iq50
  kosmos eval iq make --n 5000 --seed 7 --out more

Items have 3, 4 and 8 pictures given and six candidates, of which exactly one goes on by the rules. They are not the
paper's items, and iq.json says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kosmos.cli.parser import positive
from kosmos.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("make", choices=("make",), metavar="make", help="draw items and write them")
    parser.add_argument("--n", type=positive, default=50, metavar="N", help="number of items (default: 50)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="other items (default: 0)")
    parser.add_argument("--size", type=positive, default=224, metavar="PIXELS", help="side of a panel (default: 224)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")


def run(args: argparse.Namespace) -> int:
    from kosmos.evaluation.obtaining.iq_generator import make_items, write_items

    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: give 0 or more")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise UsageError(f"{args.out}: is there already; name a new folder with --out")
    path = write_items(args.out, make_items(args.n, args.seed), args.seed, args.size)
    print(f"{path}: {args.n} stand-ins, not the paper's items", file=sys.stderr)
    return 0
