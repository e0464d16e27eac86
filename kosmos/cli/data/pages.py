"""Turn web pages into interleaved documents: text and pictures in reading order.

examples:
  kosmos data pages crawl.warc.gz documents
  kosmos data pages saved-site/ documents --against benchmark.jsonl
  kosmos data pages "crawl/*.warc.gz" documents --workers 16
  kosmos data pages "crawl/*.warc.gz" documents --executor slurm --partition cpu --workers 500

IN is WARC files, or a folder of HTML with its pictures. Keeps English pages with prose and pictures, by the paper's
rules; removes near-duplicates, and with --against what overlaps evaluation data; writes OUT/*.tar, which the reader
interleaved_tar reads, and OUT/report.md, which says what every rule removed. docs/web.md lists the rules.
Stopped and started again with the same words, it goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kosmos.cli.data.pipelines import add_executor_arguments, executor_settings, print_report, print_stage
from kosmos.cli.parser import positive, whole_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="IN", help="WARC files (a file, a folder, a pattern) or a folder of HTML")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder, or one to go on with")
    parser.add_argument("--against", nargs="+", default=[], metavar="FILE", help="evaluation data to keep out")
    parser.add_argument("--fetch", action="store_true", help="a folder of HTML: fetch pictures of the web too")
    parser.add_argument("--seed", type=whole_number, default=1, metavar="N", help="of what is dropped at random (1)")
    parser.add_argument("--min-side", type=positive, default=64, metavar="PIXELS", help="of a picture (64)")
    parser.add_argument("--max-pictures", type=positive, default=5, metavar="N", help="of a document (5)")
    parser.add_argument("--records-per-shard", type=positive, default=10_000, metavar="N", help="10000")
    polite = parser.add_argument_group("politeness")
    polite.add_argument("--concurrency", type=positive, default=128, metavar="N", help="exchanges at a time (128)")
    polite.add_argument("--per-host-rate", type=float, default=2.0, metavar="R", help="requests a second (2)")
    polite.add_argument("--user-agent", metavar="TEXT", help="name/version, and where to complain")
    add_executor_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from kosmos.data.fetch.settings import FetchSettings
    from kosmos.data.web.pipeline import pages
    from kosmos.data.web.settings import PagesSettings, PictureRules

    fetch = FetchSettings(
        user_agent=args.user_agent or FetchSettings.user_agent,
        concurrency=args.concurrency,
        per_host_rate=args.per_host_rate,
    )
    settings = PagesSettings(
        pictures=PictureRules(min_side=args.min_side, max_pictures=args.max_pictures),
        fetch=fetch,
        web_pictures=args.fetch,
        against=tuple(args.against),
        seed=args.seed,
        shard_records=args.records_per_shard,
    )
    print_report(args.out, pages(args.path, args.out, settings, executor_settings(args), print_stage))
    return 0
