"""Whole files of a corpus, checked: by the checksums and counts that stand beside them, and by a tar's end mark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from kosmos.data.readers import BadRecord
from kosmos.data.readers.files import file_size, is_url, read_range
from kosmos.storage import MANIFEST, file_sha256

DAMAGED = "damaged file"
STATS_ENDING = "_stats.json"
_END_MARK = 1024  # bytes of zeros that close a tar


def check_checksums(shards: Sequence[str]) -> Iterator[BadRecord]:
    """A problem for each local shard whose bytes are not those that MANIFEST.sha256 names.

    The manifest lies in the shard's folder or in one above; a shard that none names is not checked. A file that the
    manifest of a shard's own folder names and that is missing is a problem too.
    """
    manifests: dict[Path, dict[str, str]] = {}
    for shard in shards:
        if is_url(shard):
            continue
        path = Path(shard).resolve()
        for folder in path.parents:
            if folder not in manifests:
                manifests[folder] = _read_manifest(folder)
            digest = manifests[folder].get(path.relative_to(folder).as_posix())
            if digest is not None:
                if file_sha256(path) != digest:
                    yield BadRecord(shard, DAMAGED, f"its sha256 is not the one in {folder / MANIFEST}")
                break
    yield from _missing({Path(shard).resolve().parent for shard in shards if not is_url(shard)}, manifests)


def check_counts(shard: str, records: int) -> BadRecord | None:
    """A problem when img2dataset's NAME_stats.json counts other successes than the shard NAME.tar has records."""
    beside = Path(shard.removesuffix(".tar") + STATS_ENDING)
    if is_url(shard) or not shard.endswith(".tar") or not beside.is_file():
        return None
    try:
        written = json.loads(beside.read_bytes())["successes"]
    except (OSError, ValueError, KeyError, TypeError):
        return BadRecord(str(beside), DAMAGED, "cannot be read as img2dataset's counts")
    if written == records:
        return None
    return BadRecord(shard, DAMAGED, f"{records:,} records, but {beside.name} says {written:,}")


def check_end(file: str) -> BadRecord | None:
    """A problem when a tar has no end mark: it may have been cut between two members, which no reader can see."""
    if not file.endswith(".tar"):
        return None
    size = file_size(file)
    if any(read_range(file, max(0, size - _END_MARK), size)):
        return BadRecord(file, DAMAGED, "the tar has no end mark, so it may be cut short; fetch or write it again")
    return None


def _read_manifest(folder: Path) -> dict[str, str]:
    """File name -> sha256; empty where there is no manifest or none that can be read."""
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}


def _missing(folders: set[Path], manifests: dict[Path, dict[str, str]]) -> Iterator[BadRecord]:
    for folder in sorted(folders):
        for name in manifests.get(folder, {}):
            if not (folder / name).is_file():
                yield BadRecord(str(folder / name), "missing file", f"{folder / MANIFEST} lists it")
