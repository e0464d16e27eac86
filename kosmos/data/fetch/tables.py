"""From tables of URLs to tars that training reads, restartable shard by shard.

LAION, COYO, CC3M and CC12M become pairs (`pairs_tar`), MMC4 and OBELICS interleaved documents (`interleaved_tar`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kosmos.data.fetch.connector import Lookup, system_lookup
from kosmos.data.fetch.hosts import Clock
from kosmos.data.fetch.pictures import PictureClient
from kosmos.data.fetch.settings import FetchSettings
from kosmos.data.fetch.shard import Row, fetch_shard, rows_sha256
from kosmos.data.fetch.stats import ShardFiles, ShardStats
from kosmos.data.readers.sequential import input_files, records
from kosmos.errors import DataError, Interrupted, UsageError, nearest
from kosmos.storage import make_folder, write_atomic

# How many records of each table go into a shard: pairs have one picture, documents several.
RECORDS_PER_SHARD = {"laion": 5000, "coyo": 5000, "cc3m": 5000, "cc12m": 5000, "mmc4": 1000, "obelics": 1000}
READ_WITH = {"laion": "pairs_tar", "coyo": "pairs_tar", "cc3m": "pairs_tar", "cc12m": "pairs_tar"}
PLAN = "fetch.json"
# The slowest hosts decide when a shard ends; meanwhile the next ones use the places that are free.
_SHARDS_AT_ONCE = 3


@dataclass
class FetchReport:
    """Sums over the shards of a folder. `resumed` of the `shards` were finished by an earlier run."""

    shards: int = 0
    resumed: int = 0
    records: int = 0
    written: int = 0
    pictures: int = 0
    pictures_fetched: int = 0
    picture_bytes: int = 0
    picture_failures: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, stats: ShardStats, resumed: bool) -> None:
        self.shards += 1
        self.resumed += resumed
        self.records += stats.count
        self.written += stats.successes
        self.pictures += stats.pictures
        self.pictures_fetched += stats.pictures_fetched
        self.picture_bytes += stats.picture_bytes
        self.picture_failures.update(stats.picture_failures)
        self.dropped.update(stats.dropped)


Progress = Callable[[ShardFiles, ShardStats], None]


def fetch_table(
    reader: str,
    path: str,
    out: str | Path,
    settings: FetchSettings | None = None,
    *,
    field: str = "",
    records_per_shard: int | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    lookup: Lookup = system_lookup,
) -> FetchReport:
    """Fetch the pictures of the tables at `path` into tars in `out`.

    Finished shards of an earlier run stay as they are; the others are fetched anew. A picture that fails is left out
    of its document, a record without any picture left is dropped; both are counted by reason and logged.
    `progress` is called after each shard. Raises UsageError for another table or plan in `out`, DataError for missing
    or changed tables, StorageError, and Interrupted on Ctrl-C.
    """
    if reader not in RECORDS_PER_SHARD:
        known = ", ".join(RECORDS_PER_SHARD)
        raise UsageError(f"'{reader}' is no table of URLs{nearest(reader, RECORDS_PER_SHARD)}; there are: {known}")
    settings = settings or FetchSettings()
    size = records_per_shard or RECORDS_PER_SHARD[reader]
    input_files(reader, path)  # a mistyped path shall not leave a folder behind
    rows = records(reader, path, field)
    folder = make_folder(out)
    _check_plan(folder, {"reader": reader, "field": field, "records_per_shard": size, "min_size": settings.min_size})
    report = FetchReport()

    async def run() -> None:
        async with PictureClient(settings, clock, lookup) as client:
            await _fetch_all(folder, rows, size, client, report, progress)

    try:
        asyncio.run(run())
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"interrupted; {report.shards} shards in {folder} are finished, and the same command goes on after them"
        ) from error
    if not report.records:
        raise DataError(f"{path}: there is no record in it")
    return report


def _check_plan(folder: Path, plan: dict[str, str | int]) -> None:
    """A folder holds one table under one plan: mixing two would give shards that overlap."""
    path = folder / PLAN
    try:
        earlier = json.loads(path.read_bytes())
    except FileNotFoundError:
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise UsageError(f"{folder} holds other files: choose an empty or a new folder") from None
        write_atomic(path, json.dumps(plan, indent=1).encode() + b"\n")
        return
    except ValueError:
        earlier = None
    if earlier != plan:
        raise UsageError(
            f"{folder} was begun with {earlier}, now it is {plan}: say the same again, or take a new folder"
        )


async def _fetch_all(
    folder: Path,
    rows: Iterator[Row],
    records_per_shard: int,
    client: PictureClient,
    report: FetchReport,
    progress: Progress | None,
) -> None:
    running: dict[asyncio.Task[ShardStats], ShardFiles] = {}

    async def finish_some() -> None:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=lambda task: running[task].number):
            files = running.pop(task)
            stats = task.result()
            report.add(stats, resumed=False)
            if progress is not None:
                progress(files, stats)

    try:
        for number in itertools.count():
            # In a thread: decoding a table holds up the exchanges that run.
            batch = await asyncio.to_thread(lambda: list(itertools.islice(rows, records_per_shard)))
            if not batch:
                break
            files = ShardFiles(folder, number)
            finished = _finished(files, batch)
            if finished is not None:
                report.add(finished, resumed=True)
                continue
            task = asyncio.create_task(fetch_shard(files, batch, records_per_shard, client))
            running[task] = files
            if len(running) >= _SHARDS_AT_ONCE:
                await finish_some()
        while running:
            await finish_some()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _finished(files: ShardFiles, rows: list[Row]) -> ShardStats | None:
    """The statistics of a shard that an earlier run finished. Raises DataError when the table is another one now."""
    try:
        stats = ShardStats.from_json(files.stats.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if stats.records_sha256 != rows_sha256(rows):
        raise DataError(f"{files.stats}: the table was changed since this shard was fetched; take a new folder")
    return stats if files.tar.exists() else None
