"""Fetch a dataset's files, or say exactly how to obtain and place them; then check what lies there.

examples:
  kosmos eval prepare boolq
  kosmos eval prepare language --data eval-data
  kosmos eval prepare coco_caption --large
  kosmos eval prepare hateful_memes
  kosmos eval prepare table1 --check

What is there already is not fetched again, and a broken download goes on where it stopped. Files over a gigabyte are
fetched with --large only. An archive that you fetched yourself is unpacked when it lies in the dataset's folder under
its own name. --check fetches nothing. Exit code 0 when every dataset named can be evaluated, else 3.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos.cli.user_modules import add_import_option, import_modules

if TYPE_CHECKING:
    from kosmos.evaluation.benchmark import Benchmark
    from kosmos.evaluation.obtaining.fetching import Fetch

_DATA = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", metavar="A,B", help="datasets, or table1, language, vqa, ... for many")
    parser.add_argument(
        "--data", type=Path, default=Path("eval-data"), metavar="DIR", help="a folder per dataset in it"
    )
    parser.add_argument("--check", action="store_true", help="only look at what is there")
    parser.add_argument("--large", action="store_true", help="fetch files over a gigabyte too")
    parser.add_argument(
        "--allow-network", action="append", default=[], metavar="CIDR", help="reach this private one too (a mirror)"
    )
    add_import_option(parser)


def run(args: argparse.Namespace) -> int:
    import_modules(args.modules)
    from kosmos.evaluation.obtaining.fetching import web_fetch
    from kosmos.evaluation.tasks.table1 import select_benchmarks

    benchmarks = select_benchmarks(args.tasks)
    # A mirror of one's own may listen anywhere.
    mirror: dict[str, Any] = {"allow_networks": tuple(args.allow_network), "ports": ()} if args.allow_network else {}
    fetch = None if args.check else web_fetch(**mirror)
    lacking = [benchmark.name for benchmark in benchmarks if not prepare(benchmark, args.data, fetch, args.large)]
    if lacking:
        print(f"{len(benchmarks) - len(lacking)} of {len(benchmarks)} can be evaluated; not {', '.join(lacking)}")
    return _DATA if lacking else 0


def prepare(benchmark: Benchmark, data: Path, fetch: Fetch | None, large: bool) -> bool:
    """Fetch what is missing (`fetch` None: nothing) and check; whether the dataset can be evaluated."""
    from kosmos.errors import DataError
    from kosmos.evaluation.obtaining.fetching import obtain, waiting
    from kosmos.evaluation.obtaining.inventory import take_inventory

    folder = data / (benchmark.folder or benchmark.name)
    source = benchmark.source
    print(f"{benchmark.name} ({benchmark.title}) in {folder}")
    found = list(take_inventory(benchmark, folder))
    whole = all(one.level == "ok" for one in found)
    failed = False
    if fetch is not None and not whole and waiting(benchmark, folder):
        try:
            for line in obtain(benchmark, folder, fetch, large):
                print(f"  {line}", flush=True)
        except DataError as error:
            print(f"  {error}")
            failed = True
        found = list(take_inventory(benchmark, folder))
    ready = not any(one.level == "problem" for one in found)
    if not ready or failed:
        print(f"  {'a form or licence stands before it' if source.gated else 'licence'}: {source.licence}")
        print(f"  where: {source.url}" + (f", or the hub's {source.hub}" if source.hub else ""))
        print(f"  how: {source.how}")
        official = ", ".join(source.files)
        print(f"  {folder} must have: {official}" + (f"; or {', '.join(source.hub_files)}" * bool(source.hub_files)))
    for one in found:
        print(f"  {one.level:<8} {one.what}")
        if one.do and one.level != "ok" and not _is_this_command(one.do):
            print(f"           {one.do}")
    return ready


def _is_this_command(what: str) -> bool:
    """What to do has been said above then."""
    return what.strip("`").startswith("kosmos eval prepare ")
