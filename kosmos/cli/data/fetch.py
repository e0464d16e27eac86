"""Fetch the pictures of URL tables into tars.

examples:
  kosmos data fetch --reader laion part-00000.parquet laion-tars
  kosmos data fetch --reader cc3m Train_GCC-training.tsv cc3m-tars --min-size 64
  kosmos data fetch --reader obelics 'obelics/*.parquet' obelics-tars --concurrency 256

laion, coyo, cc3m and cc12m become pairs (reader pairs_tar), mmc4 and obelics documents (reader interleaved_tar).
Stopped and started again with the same words, it goes on after the last finished shard. Beside each tar lie its
counts (_stats.json) and every URL that failed, with the reason (_failed.jsonl).

Hosts are asked politely: robots.txt with its delays, a rate for each host, Retry-After, opt-outs in headers.
Private and local addresses are never connected to, proxies of the environment are not used.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos.cli.parser import positive, whole_number

if TYPE_CHECKING:
    from kosmos.data.fetch.stats import ShardFiles, ShardStats

_READERS = ("laion", "coyo", "cc3m", "cc12m", "mmc4", "obelics")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", metavar="TABLES", help="a file, a folder, or a quoted pattern")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder, or one to go on with")
    parser.add_argument("--reader", required=True, choices=_READERS, help="what kind of table: " + ", ".join(_READERS))
    parser.add_argument("--field", default="", metavar="NAME", help="column of the caption, when it is not the usual")
    parser.add_argument("--records-per-shard", type=positive, metavar="N", help="pairs: 5000, documents: 1000")
    parser.add_argument("--min-size", type=positive, default=1, metavar="PIXELS", help="smallest side kept (1)")
    polite = parser.add_argument_group("politeness")
    polite.add_argument("--concurrency", type=positive, default=128, metavar="N", help="exchanges at a time (128)")
    polite.add_argument("--per-host-rate", type=float, default=2.0, metavar="R", help="requests a second (2)")
    polite.add_argument("--per-host-concurrency", type=positive, default=2, metavar="N", help="at a time (2)")
    polite.add_argument("--user-agent", metavar="TEXT", help="name/version, and where to complain")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-bytes", type=positive, default=10 << 20, metavar="N", help="of a picture (10 MiB)")
    limits.add_argument("--timeout", type=float, default=20.0, metavar="SECONDS", help="of one try (20)")
    limits.add_argument("--retries", type=whole_number, default=1, metavar="N", help="further tries (1)")
    limits.add_argument(
        "--port", type=positive, action="append", metavar="N", help="allow it beside 80, 443, 8080, 8443"
    )
    limits.add_argument(
        "--allow-network", action="append", default=[], metavar="CIDR", help="reach this private one too"
    )


def run(args: argparse.Namespace) -> int:
    from kosmos.data.fetch.settings import PORTS, FetchSettings
    from kosmos.data.fetch.tables import READ_WITH, fetch_table

    settings = FetchSettings(
        user_agent=args.user_agent or FetchSettings.user_agent,
        concurrency=args.concurrency,
        per_host_concurrency=args.per_host_concurrency,
        per_host_rate=args.per_host_rate,
        max_bytes=args.max_bytes,
        timeout=args.timeout,
        retries=args.retries,
        ports=(*PORTS, *(args.port or ())),
        allow_networks=tuple(args.allow_network),
        min_size=args.min_size,
    )
    report = fetch_table(
        args.reader,
        args.tables,
        args.out,
        settings,
        field=args.field,
        records_per_shard=args.records_per_shard,
        progress=_print_shard,
    )
    earlier = f" ({report.resumed} from before)" if report.resumed else ""
    print(
        f"{args.out}: {report.written:,} of {report.records:,} records in {report.shards} shards{earlier},"
        f" {report.pictures_fetched:,} of {report.pictures:,} pictures, {report.picture_bytes / 1e6:,.1f} MB;"
        f" read them with {READ_WITH.get(args.reader, 'interleaved_tar')}"
    )
    for title, counts in (("records dropped", report.dropped), ("pictures failed", report.picture_failures)):
        if counts:
            print(f"{title}: " + ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common()))
    return 0


def _print_shard(files: ShardFiles, stats: ShardStats) -> None:
    rate = stats.pictures_fetched / stats.duration if stats.duration else 0.0
    share = 100 * stats.successes / stats.count
    print(
        f"{files.tar.name}: {stats.successes:,} of {stats.count:,} records ({share:.1f} %),"
        f" {stats.pictures_fetched:,} pictures in {stats.duration:.0f} s ({rate:.0f}/s)",
        flush=True,
    )
