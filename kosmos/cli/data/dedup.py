"""Remove near-duplicates from a corpus of JSON lines: the first document of each group stays.

examples:
  kosmos data dedup corpus.jsonl.zst corpus-dedup
  kosmos data dedup "cc/*.jsonl.gz" cc-dedup --workers 16
  kosmos data dedup books books-dedup --similarity 0.9

Documents are near-duplicates when the sets of their runs of five words are similar (MinHash). Lines that stay keep
every byte; OUT has one plain file for each of IN, and report.md. Started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.data.pipelines import add_executor_arguments, executor_settings, print_report, print_stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="IN", help="*.jsonl, also .gz .zst .bz2 .xz .zip: a file, a folder, a pattern")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder, or one to go on with")
    parser.add_argument("--field", default="text", metavar="KEY", help="of the text (text)")
    parser.add_argument("--similarity", type=float, default=0.75, metavar="S", help="from which on (0.75)")
    add_executor_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from kosmos.data.web.settings import DuplicateRules
    from kosmos.data.web.text_corpora import dedup

    rules = DuplicateRules(similarity=args.similarity)
    print_report(args.out, dedup(args.path, args.out, rules, args.field, executor_settings(args), print_stage))
    return 0
