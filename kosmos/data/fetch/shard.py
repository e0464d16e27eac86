"""One shard of a table: its pictures fetched, its tar, what failed, and what is counted.

00000.tar            the records that came out whole, in the table's order
00000_failed.jsonl   {"where", "url", "reason", "detail"} of each picture and record that did not
00000_stats.json     written last: a shard with it is finished
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from kosmos.data.fetch.pictures import PictureClient, together
from kosmos.data.fetch.results import FetchFailure
from kosmos.data.fetch.stats import ShardFiles, ShardStats
from kosmos.data.readers import BadRecord
from kosmos.data.readers.records import RawRecord
from kosmos.data.tar_writer import InterleavedTarWriter, PairsTarWriter, record_key
from kosmos.errors import StorageError
from kosmos.storage import write_atomic

Row = RawRecord | BadRecord


def rows_sha256(rows: Sequence[Row]) -> str:
    """Hash of what is to be fetched and written, whatever the table is called."""
    digest = hashlib.sha256()
    for row in rows:
        content = [row.why] if isinstance(row, BadRecord) else [row.texts, row.images]
        digest.update(json.dumps(content, default=lambda image: hashlib.sha256(image).hexdigest()).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Held:
    """A picture that waits in the spool for its turn in the tar."""

    offset: int
    size: int
    width: int
    height: int


class _Spool:
    """Pictures come in the order of the hosts' speed and leave in the table's; meanwhile they lie in a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0

    def add(self, data: bytes) -> int:
        self._file.seek(self._end)
        self._file.write(data)
        self._end += len(data)
        return self._end - len(data)

    def read(self, held: _Held) -> bytes:
        self._file.seek(held.offset)
        return self._file.read(held.size)


async def fetch_shard(
    files: ShardFiles, rows: Sequence[Row], records_per_shard: int, client: PictureClient
) -> ShardStats:
    """Fetch the pictures of `rows` and write the shard. Raises StorageError."""
    start = time.monotonic()
    wanted = [image for row in rows if isinstance(row, RawRecord) for image in row.images if image is not None]
    distinct = list(dict.fromkeys(wanted))
    try:
        with tempfile.TemporaryFile(dir=files.folder, prefix=".spool.") as file:
            spool = _Spool(file)

            async def fetch(image: str | bytes) -> _Held | FetchFailure:
                found = await (client.picture(image) if isinstance(image, str) else client.verified(image))
                if isinstance(found, FetchFailure):
                    return found
                return _Held(spool.add(found.data), len(found.data), found.width, found.height)

            found = dict(zip(distinct, await together([fetch(image) for image in distinct]), strict=True))
            # Reading back, writing and syncing take a second or more; other shards are being fetched meanwhile.
            stats = await asyncio.to_thread(_write_shard, files, rows, records_per_shard, found, spool)
    except OSError as error:
        raise StorageError(f"{files.tar}: cannot write: {error.strerror or error}; free some space") from error
    stats.duration = round(time.monotonic() - start, 3)
    stats.records_sha256 = rows_sha256(rows)
    write_atomic(files.stats, stats.to_json())
    return stats


def _write_shard(
    files: ShardFiles,
    rows: Sequence[Row],
    records_per_shard: int,
    found: Mapping[str | bytes, _Held | FetchFailure],
    spool: _Spool,
) -> ShardStats:
    stats = ShardStats(count=len(rows))
    failures: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    log: list[dict[str, str | None]] = []
    pairs = any(isinstance(row, RawRecord) and row.kind == "pair" for row in rows)
    with PairsTarWriter(files.tar) if pairs else InterleavedTarWriter(files.tar) as tar:
        for number, row in enumerate(rows):
            if isinstance(row, BadRecord):
                dropped[row.why] += 1
                log.append({"where": row.where, "url": None, "reason": row.why, "detail": row.detail})
                continue
            reason = "no picture left"
            for image in row.images:
                if image is None:
                    continue
                stats.pictures += 1
                result = found[image]
                if isinstance(result, FetchFailure):
                    reason = result.reason if row.kind == "pair" else reason
                    failures[result.reason] += 1
                    url = _plain(image[:500]) if isinstance(image, str) else None
                    log.append(
                        {"where": row.where, "url": url, "reason": result.reason, "detail": _plain(result.detail)}
                    )
                else:
                    stats.pictures_fetched += 1
                    stats.picture_bytes += result.size
            key = record_key(files.number, number, records_per_shard)
            if _add(tar, key, row, found, spool):
                stats.successes += 1
            else:
                dropped[reason] += 1
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in log)
        write_atomic(files.failed, lines.encode("utf-8", "replace"))
    stats.picture_failures = dict(failures.most_common())
    stats.dropped = dict(dropped.most_common())
    return stats


def _add(
    tar: PairsTarWriter | InterleavedTarWriter,
    key: str,
    row: RawRecord,
    found: Mapping[str | bytes, _Held | FetchFailure],
    spool: _Spool,
) -> bool:
    """Write a record with the pictures it has; False when it has none."""
    held = [None if image is None else found[image] for image in row.images]
    pictures = [result for result in held if isinstance(result, _Held)]
    if not pictures:
        return False
    if isinstance(tar, PairsTarWriter):
        caption = next(text for text in row.texts if text is not None)
        width, height = pictures[0].width, pictures[0].height
        meta = {
            **_plain(row.meta),
            "url": next(_plain(image) for image in row.images if isinstance(image, str)),
            "width": width,
            "height": height,
            "original_width": width,
            "original_height": height,
        }
        tar.add(key, spool.read(pictures[0]), caption, meta)
        return True
    # A picture that failed leaves its place, and so does what the table says of that place.
    places = [place for place, result in enumerate(held) if not isinstance(result, FetchFailure)]
    images = [spool.read(result) if isinstance(result, _Held) else None for result in held]
    meta = {
        name: [value[place] for place in places] if isinstance(value, list) and len(value) == len(held) else value
        for name, value in _plain(row.meta).items()
    }
    meta["urls"] = [_plain(row.images[place]) for place in places]
    tar.add(
        key,
        [row.texts[place] for place in places],
        [images[place] for place in places],
        [row.supervised[place] for place in places] if row.supervised else None,
        meta,
    )
    return True


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: no NaN, no lone surrogates, dates and bytes as text; data: URLs shortened."""
    if isinstance(value, str):
        shown = value[:64] if value[:5].lower() == "data:" else value
        return shown.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(str(name)): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return _plain(str(value)) if not isinstance(value, bytes) else None
