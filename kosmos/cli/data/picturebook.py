"""Write the demo's worlds in the forms on disk that training reads.

examples:
  kosmos data picturebook book
  kosmos data picturebook book --records 500 --seed 2 --size 64

OUT holds text (jsonl), picture-caption pairs (tar), interleaved documents (tar), instructions (jsonl), web pages, and
the text a tokenizer is trained on. The drawings come by npm and stay in a cache (KOSMOS_CACHE); CREDITS.txt names
their artists and licences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.parser import positive, whole_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("--records", type=positive, metavar="N", help="so many of each kind (default: some thousands)")
    parser.add_argument("--seed", type=whole_number, default=1, metavar="N", help="default: 1")
    parser.add_argument("--size", type=positive, default=48, metavar="PIXELS", help="side of the pictures (48)")


def run(args: argparse.Namespace) -> int:
    from kosmos.data.picturebook.export import ExportSizes, build

    sizes = ExportSizes()
    if args.records:
        count = args.records
        sizes = ExportSizes(
            text=count, pairs=count, interleaved=count, instructions=count, pages=min(count, sizes.pages)
        )
    build(args.out, sizes, args.seed, args.size)
    print(f"{args.out}: {sizes.text:,} texts, {sizes.pairs:,} pairs, {sizes.interleaved:,} interleaved documents")
    return 0
