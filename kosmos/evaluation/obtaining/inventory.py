"""Inventory: what of a dataset lies in its folder, whether it is what the paper's protocol needs, and what lacks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kosmos.errors import ConfigError, DataError
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.obtaining.downloads import Download, downloads_of
from kosmos.evaluation.readers.picture_files import PictureFile
from kosmos.evaluation.running.cells import Cell, Preparer, pictures_of
from kosmos.example import Example
from kosmos.images import decode_image

Level = Literal["ok", "warning", "problem"]
_CHUNK = 1 << 20
# Characters of the prompt's end that are shown.
_SHOWN = 60


@dataclass(frozen=True)
class Found:
    """One line of an inventory. A problem stops an evaluation; a warning does not. `do`: what helps, maybe empty."""

    level: Level
    what: str
    do: str = ""


def take_inventory(benchmark: Benchmark, folder: Path) -> Iterator[Found]:
    """Look at a dataset: layout, numbers of examples, checksums, pictures, one prompt. Nothing is changed."""
    obtain = f"kosmos eval prepare {benchmark.name}"
    if not is_there(folder):
        yield Found("problem", f"{folder} is not there, or empty", obtain)
        return
    try:
        examples = benchmark.read(folder, benchmark.split)
    except (DataError, ConfigError) as error:
        yield _broken(error, obtain)
        return
    yield _counted(benchmark, benchmark.split, examples)
    pool: list[Example] = []
    if benchmark.demonstration_split == benchmark.split:
        pool = examples
    elif benchmark.demonstration_split is not None:
        try:
            pool = benchmark.read(folder, benchmark.demonstration_split)
            yield _counted(benchmark, benchmark.demonstration_split, pool)
        except (DataError, ConfigError) as error:
            found = _broken(error, obtain)
            yield Found("warning", f"no demonstrations, so 0 shots only: {found.what}", found.do)
    yield from _checksums(benchmark, folder)
    missing = list(_missing_pictures(benchmark.split, examples, "problem"))
    yield from missing
    if pool is not examples:
        without = list(_missing_pictures(f"{benchmark.demonstration_split}, for demonstrations", pool, "warning"))
        yield from without
        pool = pool if all(found.level == "ok" for found in without) else []
    if all(found.level == "ok" for found in missing):
        yield _first_prompt(benchmark, folder, examples, pool)


def is_there(folder: Path) -> bool:
    """Whether a dataset's folder holds anything: an empty one, or parts of a broken download alone, do not count."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def folder_bytes(folder: Path) -> tuple[int, int]:
    """Number of files below a folder, links followed, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def checksum_of(path: Path, kind: str) -> str:
    """`kind:hexadecimal`, kind being sha256 or md5."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"


def is_as_known(download: Download, path: Path) -> bool:
    """Whether a downloaded file has the bytes that its checksum names; true where none is known."""
    return not download.checksum or checksum_of(path, download.checksum.partition(":")[0]) == download.checksum


def _broken(error: DataError | ConfigError, obtain: str) -> Found:
    what, _, do = " ".join(str(error).split()).rpartition("; ")
    return Found("problem", what or do, do if what else obtain)


def _counted(benchmark: Benchmark, split: str, examples: list[Example]) -> Found:
    expected = benchmark.num_examples.get(split)
    layout = examples[0].meta.get("layout", "")
    said = f"{split}: {len(examples):,} examples" + (f" ({layout})" if layout else "")
    if expected is None or expected == len(examples):
        return Found("ok", said)
    return Found("warning", f"{said}, but the official split has {expected:,}")


def _checksums(benchmark: Benchmark, folder: Path) -> Iterator[Found]:
    """Files that were not unpacked have checksums of their own."""
    same = []
    for download in downloads_of(benchmark):
        if download.is_archive or not download.checksum or not (folder / download.name).is_file():
            continue
        if is_as_known(download, folder / download.name):
            same.append(download.name)
        else:
            yield Found("warning", f"{download.name} is not the known file, byte for byte", f"compare: {download.url}")
    if same:
        yield Found("ok", f"known checksum: {', '.join(same)}")


def _missing_pictures(split: str, examples: list[Example], level: Level) -> Iterator[Found]:
    paths = {str(image.source) for one in examples for image in one.images if isinstance(image, PictureFile)}
    if not paths:
        return
    missing = sorted(path for path in paths if not Path(path).is_file())
    if not missing:
        yield Found("ok", f"{split}: all {len(paths):,} pictures are there")
        return
    what = f"{split}: {len(missing):,} of {len(paths):,} pictures are missing, the first is {missing[0]}"
    yield Found(level, what, "put them there, or see where its folder should lie")


def _first_prompt(benchmark: Benchmark, folder: Path, examples: list[Example], pool: list[Example]) -> Found:
    """Build the first prompt with as many demonstrations as there may be, and decode its pictures."""
    # They are not read a second time.
    read_before = replace(benchmark, read=lambda where, split: examples if split == benchmark.split else pool)
    shots = max((number for number in benchmark.shots if number < len(pool)), default=0)
    try:
        cell = Cell(read_before, benchmark.prompt(), shots, held_to_names=benchmark.names is not None)
        item = Preparer(cell, folder, lambda document, candidates: True, latents=64).item(examples[0], None)
        pictures = pictures_of(item)
        for picture in pictures:
            decode_image(picture)
    except (DataError, ConfigError) as error:
        return Found("problem", f"the first prompt cannot be made: {error}", "see the files that it names")
    document = item.requests[0].document
    said = [f'the first prompt: "...{document.text[-_SHOWN:]}"', f"demonstrations: {shots}"]
    if pictures:
        said.append(f"pictures decoded: {len({picture.sha256 for picture in pictures})}")
    if benchmark.names is not None:
        said.append(f"names: {len(set(benchmark.names(folder))):,}")
    return Found("ok", ", ".join(said))
