"""Rewrite files that can only be read from the front into plain shards, and index those that need no rewriting.

examples:
  kosmos data prepare crawl.warc.wet.gz crawl
  kosmos data prepare "pile/*.jsonl.zst" pile-plain --exclude-sets GitHub ArXiv StackExchange "PubMed Central"
  kosmos data prepare book/pairs

With OUT: compressed files, WET files and plain text become OUT/*.jsonl with their indices; what is finished stays
finished when the command is started again. Without OUT: only the indices are made, beside the files or, where their
folder cannot be written, in the cache (KOSMOS_CACHE). Training makes missing indices of local files by itself.
--exclude-sets leaves out parts of the Pile by name; the paper leaves out the four above.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kosmos.data.prepare import PrepareReport

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="IN", help="a file, a folder or a quoted pattern; local or an fsspec address")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="a new folder, or one to go on with")
    parser.add_argument("--reader", metavar="NAME", help="docs/data.md lists them (default: guessed)")
    parser.add_argument("--field", default="", metavar="F", help="column or key of the text (default: the usual one)")
    parser.add_argument("--shard-bytes", type=_size, default=1 << 30, metavar="N", help="size of a shard (default: 1G)")
    parser.add_argument("--exclude-sets", nargs="+", default=[], metavar="SET", help="parts of the Pile to leave out")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from kosmos.data.guessing import guess_reader
    from kosmos.data.prepare import prepare

    guess = None if args.reader else guess_reader(args.path)
    reader = args.reader or (guess.reader if guess else "")
    report = prepare(
        reader, args.path, args.out, field=args.field, shard_bytes=args.shard_bytes, exclude=args.exclude_sets
    )
    if args.json:
        told = {"read_as": reader, "guessed_by": guess.reason if guess else None, **asdict(report)}
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        _print(args, f"{reader} (guessed)" if guess else reader, report)
    return 0


def _print(args: argparse.Namespace, read_as: str, report: PrepareReport) -> None:
    from kosmos.cli.tables import counted, printable, readable_bytes

    print(f"{args.path}: {read_as}: {counted(report.inputs, 'file')}, {counted(report.records, 'record')}")
    if report.inputs_done_before:
        print(f"{counted(report.inputs_done_before, 'file')} finished before")
    for why, count in report.bad.items():
        print(f"left out, {why}: {count:,}")
    for name, count in report.excluded.items():
        print(f"left out, of {name}: {count:,}")
    for record in report.named:
        print(f"  {printable(record.where)}: {record.why}")
    if report.rewritten:
        print(f"{args.out}: {counted(report.shards, 'shard')}, {readable_bytes(report.bytes)}")
    else:
        print("nothing to rewrite: the indices are there")
        if args.out is not None:
            print(f"nothing is written to {args.out}")
    print(f"in a recipe: {{reader: {report.reader}, path: {report.path}}}")


def _size(text: str) -> int:
    """Bytes: 500000, 512M, 1G (powers of 1024)."""
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text.upper())
    if match is None or int(match[1]) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size (like 512M or 1G)")
    return int(match[1]) * _UNITS[match[2]]
