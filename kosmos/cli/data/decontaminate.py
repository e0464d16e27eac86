"""Remove documents that overlap evaluation data from a corpus of JSON lines.

examples:
  kosmos data decontaminate corpus.jsonl corpus-clean --against hellaswag.jsonl piqa.jsonl
  kosmos data decontaminate "cc/*.jsonl.gz" cc-clean --against benchmarks/*.json --workers 16

A document overlaps when it shares a run of 13 words with an item, or holds a shorter item of 8 words or more whole.
Evaluation data: every string in .json and .jsonl, cells of .csv and .tsv, lines of anything else.
Lines that stay keep every byte; OUT has one plain file for each of IN, and report.md. Started again, it goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.data.pipelines import add_executor_arguments, executor_settings, print_report, print_stage
from kosmos.cli.parser import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="IN", help="*.jsonl, also .gz .zst .bz2 .xz .zip: a file, a folder, a pattern")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder, or one to go on with")
    parser.add_argument("--against", nargs="+", required=True, metavar="FILE", help="evaluation data")
    parser.add_argument("--field", default="text", metavar="KEY", help="of the text (text)")
    parser.add_argument("--words", type=positive, default=13, metavar="N", help="of a run in common (13)")
    add_executor_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from kosmos.data.web.settings import OverlapRules
    from kosmos.data.web.text_corpora import decontaminate

    rules = OverlapRules(args.words, min(args.words, OverlapRules.min_words))
    report = decontaminate(
        args.path, args.out, tuple(args.against), rules, args.field, executor_settings(args), print_stage
    )
    print_report(args.out, report)
    return 0
