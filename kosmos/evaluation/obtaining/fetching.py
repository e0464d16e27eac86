"""Fetching a dataset's files into its folder, as its reader wants them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kosmos.errors import DataError, StorageError
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.obtaining.downloads import LARGE, Download, downloads_of
from kosmos.evaluation.obtaining.inventory import checksum_of, is_as_known
from kosmos.evaluation.obtaining.unpacking import unpack
from kosmos.storage import make_folder

# Archives of pictures hardly shrink; those of text do, tenfold at most.
_GROWTH = 20
_UNPACKED = 2_000_000_000

# (url, file, max_bytes) -> bytes; `kosmos.data.fetch.download.download` with its settings.
Fetch = Callable[[str, Path, int], int]


def waiting(benchmark: Benchmark, folder: Path) -> list[Download]:
    """The downloads whose files are not in the folder yet."""
    return [one for one in downloads_of(benchmark) if not all(any(folder.glob(glob)) for glob in one.gives)]


def obtain(benchmark: Benchmark, folder: Path, fetch: Fetch, large: bool = False) -> Iterator[str]:
    """Fetch what is missing, saying what is done. What is over a gigabyte only if `large`.

    An archive that lies in the folder under its own name already (fetched by other means) is unpacked. Raises DataError
    for what the web does not give or gives changed, StorageError when the disk does not take it.
    """
    make_folder(folder)
    for download in waiting(benchmark, folder):
        linked = _link(download, folder)
        if linked:
            yield linked
            continue
        file = folder / download.name
        if not file.is_file():
            if download.bytes > LARGE and not large:
                yield f"left out: {_described(download)}; --large fetches it too, or put the file into {folder}"
                continue
            _check_room(download, folder)
            yield f"fetching {_described(download)}"
            size = fetch(download.url, file, 2 * download.bytes)
            yield f"  {size:,} bytes"
        if not is_as_known(download, file):
            kind = download.checksum.partition(":")[0]
            aside = file.with_name(f"{file.name}.unknown")
            os.replace(file, aside)
            raise DataError(
                f"{aside}: its {kind} is {checksum_of(aside, kind).partition(':')[2]}, not the known "
                f"{download.checksum.partition(':')[2]}; the transfer was bad, or its owner has changed it: remove it "
                "and fetch again, or look into it and put its files in place by hand"
            )
        if download.is_archive:
            limit = max(_GROWTH * file.stat().st_size, _UNPACKED)
            placed = unpack(file, folder, download.gives, download.strip, limit)
            file.unlink()
            yield f"  unpacked {len(placed):,} files"


def _described(download: Download) -> str:
    use = {"examples": "", "demonstrations": ", for demonstrations", "server": ", for the server"}[download.use]
    return f"{download.url} (up to {download.bytes / 1e6:,.0f} MB{use})"


def _link(download: Download, folder: Path) -> str:
    """Link the same pictures of another dataset beside this one, if they are there."""
    name = download.gives[0].partition("/")[0]
    other = folder.parent / download.beside / name
    if not download.beside or not other.is_dir() or (folder / name).exists():
        return ""
    (folder / name).symlink_to(Path("..") / download.beside / name, target_is_directory=True)
    return f"linked {name} to {download.beside}/{name}"


def _check_room(download: Download, folder: Path) -> None:
    needed = download.bytes * (2 if download.is_archive else 1)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"{folder}: {free / 1e9:.1f} GB free, {download.name} needs up to {needed / 1e9:.1f} GB with what is "
            "unpacked; free some space, or choose another --data"
        )


def web_fetch(**settings: Any) -> Fetch:
    """The fetcher for people's own use. `settings`: fields of FetchSettings. Raises ConfigError without aiohttp."""
    from kosmos.data.fetch.download import download
    from kosmos.data.fetch.settings import FetchSettings

    chosen = FetchSettings(**{"timeout": 60.0, "retries": 4, **settings})
    return lambda url, file, max_bytes: download(url, file, max_bytes, chosen)
