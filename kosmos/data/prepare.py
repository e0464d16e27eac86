"""`kosmos data prepare`: makes corpora addressable, once.

What can be read from the front only (compressed files, WET, plain text) is rewritten as JSON lines; tars, parquet and
plain JSON lines only get their indices. What is finished stays finished when it is started again.

OUT/NAME-00000.jsonl ...    the records, {"text", "meta"} or {"instruction", "input", "output"}, with their indices
OUT/prepare.json            what was done with which input, and what was left out
OUT/MANIFEST.sha256         when all is done
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kosmos.config import CorpusConfig
from kosmos.data.index import prepare_index
from kosmos.data.readers import SEQUENTIAL, BadRecord, open_reader
from kosmos.data.readers.compressed import is_compressed
from kosmos.data.readers.files import fingerprint
from kosmos.data.readers.records import RawRecord
from kosmos.data.readers.sequential import input_files, records_of_file
from kosmos.errors import DataError, StorageError, UsageError
from kosmos.storage import MANIFEST, make_folder, sync, write_atomic

logger = logging.getLogger(__name__)

PROGRESS = "prepare.json"
_PARTIAL = ".partial-"
# Bad records that the report names; all are counted.
_NAMED = 20

_REWRITTEN = ("jsonl", "instructions", "text", "text_blocks", "wet")
# Reader -> the kind of index that its files have; the others need none.
INDEX_KINDS = {
    "jsonl": "lines",
    "instructions": "lines",
    "text_blocks": "blocks",
    "pairs_tar": "tar",
    "interleaved_tar": "tar",
}


@dataclass
class FileReport:
    """What became of one input file. `outputs`: name -> (records, bytes, sha256)."""

    fingerprint: str
    records: int = 0
    outputs: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    bad: dict[str, int] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)
    named: list[BadRecord] = field(default_factory=list)


@dataclass
class PrepareReport:
    """What training reads (`reader`, `path`), and what was left out by reason. `named`: the first bad records."""

    reader: str
    path: str
    rewritten: bool
    inputs: int = 0
    inputs_done_before: int = 0
    shards: int = 0
    records: int = 0
    bytes: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)
    named: list[BadRecord] = field(default_factory=list)


def prepare(
    reader: str,
    path: str,
    out: Path | None = None,
    *,
    field: str = "",
    shard_bytes: int = 1 << 30,
    exclude: Collection[str] = (),
) -> PrepareReport:
    """Make the files behind `path` readable for training.

    Compressed files, WET and, where `out` is given, plain text become shards of about `shard_bytes` bytes in `out`.
    `exclude` leaves out records whose `meta.pile_set_name` is one of these (the paper: GitHub, ArXiv, StackExchange,
    PubMed Central); capitals and blanks do not matter. Raises ConfigError, DataError, StorageError, and UsageError
    when `out` is needed and missing, or was begun with other settings.
    """
    if SEQUENTIAL.get(reader) == "fetch":
        command = f"kosmos data fetch --reader {reader} {path} OUT"
        raise UsageError(f"{path}: the pictures of '{reader}' must be fetched first: run `{command}`")
    if reader not in _REWRITTEN:
        return _index(reader, path, field)
    files = input_files(reader, path)
    needed = reader == "wet" or bool(exclude) or any(is_compressed(file) for file in files)
    if not needed and (out is None or reader in ("jsonl", "instructions")):
        return _index(reader, path, field)
    if out is None:
        raise UsageError(f"{path}: these files must be rewritten: name a folder OUT for that")
    settings = {"reader": reader, "field": field, "shard_bytes": shard_bytes, "exclude": sorted(map(_folded, exclude))}
    with _Folder(out, settings) as folder:
        return folder.rewrite(files, exclude)


def _index(reader: str, path: str, field: str) -> PrepareReport:
    """Index the files that need no rewriting; parquet and folders of texts have nothing to index."""
    report = PrepareReport(reader, path, rewritten=False)
    opened = open_reader(CorpusConfig(reader, path, field=field), seed=0)
    for shard in opened.shards():
        kind = INDEX_KINDS.get(reader)
        report.records += prepare_index(shard, kind) if kind else opened.num_records(shard)
        report.shards += 1
    report.inputs = report.shards
    return report


class _Folder:
    """The output folder, held by one process at a time, and the progress that is kept in it."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self.out = make_folder(out)
        self._settings = settings
        self._done: dict[str, FileReport] = {}

    def __enter__(self) -> _Folder:
        self._lock = os.open(self.out, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise UsageError(f"{self.out}: another `kosmos data prepare` is writing there") from error
        except OSError as error:
            logger.debug("%s: a disk without locks: %s", self.out, error)
        try:
            for left in self.out.glob(f"{_PARTIAL}*"):
                shutil.rmtree(left, ignore_errors=True)
            self._load()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        os.close(self._lock)

    def rewrite(self, files: list[str], exclude: Collection[str]) -> PrepareReport:
        reader = "instructions" if self._settings["reader"] == "instructions" else "jsonl"
        report = PrepareReport(reader, str(self.out), rewritten=True, inputs=len(files))
        report.excluded.update(dict.fromkeys(exclude, 0))
        for file, stem in zip(files, _output_names(files), strict=True):
            mark = fingerprint(file)
            done = self._done.get(file)
            if done is not None and done.fingerprint == mark and self._whole(done):
                report.inputs_done_before += 1
            else:
                done = self._rewrite_file(file, stem, mark, exclude)
            report.records += done.records
            report.shards += len(done.outputs)
            report.bytes += sum(size for _, size, _ in done.outputs.values())
            for total, part in ((report.bad, done.bad), (report.excluded, done.excluded)):
                for name, count in part.items():
                    total[name] = total.get(name, 0) + count
            report.named += done.named[: _NAMED - len(report.named)]
        if not report.records:
            raise DataError(f"{self.out}: nothing can be used of {len(files)} files: {report.bad}")
        self._write_manifest(files)
        return report

    def _rewrite_file(self, file: str, name: str, mark: str, exclude: Collection[str]) -> FileReport:
        """Write the shards of one input aside, then give all of them their names."""
        done = FileReport(mark)
        wanted = _wanted(records_of_file(self._settings["reader"], file, self._settings["field"]), exclude, done)
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self.out))
        try:
            for shard, lines in enumerate(_shards(wanted, self._settings["shard_bytes"])):
                target = partial / f"{name}-{shard:05d}.jsonl"
                done.outputs[target.name] = _write_shard(target, lines)
            if file in self._done:
                self._remove(self._done[file])
            for shard_name in done.outputs:
                os.replace(partial / shard_name, self.out / shard_name)
            sync(self.out)
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"{self.out}: cannot write: {reason}; free some space and start it again") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for shard_name in done.outputs:
            prepare_index(str(self.out / shard_name), "lines")
        self._done[file] = done
        self._save()
        return done

    def _remove(self, old: FileReport) -> None:
        """Remove what an input gave before it changed."""
        for name in old.outputs:
            (self.out / name).unlink(missing_ok=True)

    def _whole(self, done: FileReport) -> bool:
        return all(
            (self.out / name).is_file() and (self.out / name).stat().st_size == size
            for name, (_, size, _) in done.outputs.items()
        )

    def _load(self) -> None:
        path = self.out / PROGRESS
        if not path.is_file():
            if any(self.out.glob("*.jsonl")):
                raise UsageError(f"{self.out}: holds other .jsonl files: choose another folder")
            return
        try:
            kept = json.loads(path.read_bytes())
            self._done = {file: _report_of(fields) for file, fields in kept["files"].items()}
            settings = kept["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: damaged; delete {self.out} and start again") from error
        if settings != self._settings:
            changed = [name for name, value in self._settings.items() if settings.get(name) != value]
            raise UsageError(f"{self.out}: begun with another {' and '.join(changed)}: choose another folder")

    def _save(self) -> None:
        files = {file: asdict(done) for file, done in self._done.items()}
        kept = {"settings": self._settings, "files": files}
        write_atomic(self.out / PROGRESS, json.dumps(kept, indent=1).encode())

    def _write_manifest(self, files: list[str]) -> None:
        outputs = {name: digest for file in files for name, (_, _, digest) in self._done[file].outputs.items()}
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(outputs.items()))
        write_atomic(self.out / MANIFEST, lines.encode())


def _report_of(fields: dict[str, Any]) -> FileReport:
    return FileReport(
        fields["fingerprint"],
        fields["records"],
        {name: (records, size, digest) for name, (records, size, digest) in fields["outputs"].items()},
        fields["bad"],
        fields["excluded"],
        [BadRecord(**record) for record in fields["named"]],
    )


def _output_names(files: list[str]) -> list[str]:
    """A short name for each input: its own up to the first dot; numbered where two are alike."""
    stems = [file.rstrip("/").rpartition("/")[2].partition(".")[0] or "text" for file in files]
    common = {stem for stem, count in Counter(stems).items() if count > 1}
    return [f"{stem}-{number:05d}" if stem in common else stem for number, stem in enumerate(stems)]


def _wanted(found: Iterator[RawRecord | BadRecord], exclude: Collection[str], done: FileReport) -> Iterator[bytes]:
    """The lines that are written; everything is counted in `done`."""
    names = {_folded(name): name for name in exclude}
    for raw in found:
        if isinstance(raw, BadRecord):
            done.bad[raw.why] = done.bad.get(raw.why, 0) + 1
            if len(done.named) < _NAMED:
                done.named.append(raw)
            continue
        subset = names.get(_folded(raw.meta.get("pile_set_name")))
        if subset is not None:
            done.excluded[subset] = done.excluded.get(subset, 0) + 1
            continue
        done.records += 1
        yield _line(raw)


def _folded(name: object) -> str:
    """`PubMed Central` and `pubmedcentral` are one name."""
    return name.replace(" ", "").replace("_", "").casefold() if isinstance(name, str) else ""


def _line(raw: RawRecord) -> bytes:
    if raw.kind == "instruction":
        fields = {name: raw.meta.get(name, "") for name in ("instruction", "input", "output")}
    else:
        fields = {"text": raw.texts[0], **({"meta": raw.meta} if raw.meta else {})}
    try:
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        # Half a character in the meta; escaped, it stays what it was.
        return json.dumps(fields).encode() + b"\n"


def _shards(lines: Iterator[bytes], shard_bytes: int) -> Iterator[Iterator[bytes]]:
    """The lines in runs of at least `shard_bytes` bytes; each run must be used up before the next."""
    for first in lines:
        yield _run(first, lines, shard_bytes)


def _run(first: bytes, lines: Iterator[bytes], shard_bytes: int) -> Iterator[bytes]:
    yield first
    size = len(first)
    while size < shard_bytes and (line := next(lines, b"")):
        size += len(line)
        yield line


def _write_shard(path: Path, lines: Iterator[bytes]) -> tuple[int, int, str]:
    """Records, bytes and sha256 of what was written. Raises OSError."""
    digest = hashlib.sha256()
    records = size = 0
    with open(path, "wb") as file:
        for line in lines:
            file.write(line)
            digest.update(line)
            records += 1
            size += len(line)
        file.flush()
        os.fsync(file.fileno())
    return records, size, digest.hexdigest()
