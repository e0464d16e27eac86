"""Reads a whole corpus: every record, every picture to its last pixel, and what stands beside the files."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice

from kosmos.config import CorpusConfig
from kosmos.data.index import check_index
from kosmos.data.inspection import Seen, address_of, files_of, look, open_addressed, read_one
from kosmos.data.manifests import check_checksums, check_counts, check_end
from kosmos.data.prepare import INDEX_KINDS
from kosmos.data.readers import BadRecord, Reader
from kosmos.document import Image
from kosmos.errors import DataError, ImageError
from kosmos.images import decode_image

CHUNK = 512  # records that a process is given at a time


@dataclass
class Verification:
    """What was found. `bad` counts records by reason; `files` are problems of whole files, with what they are."""

    records: int = 0
    pictures: int = 0
    addresses: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    files: list[BadRecord] = field(default_factory=list)

    @property
    def bad_records(self) -> int:
        return sum(self.bad.values())


@dataclass(frozen=True)
class _Task:
    """Records `start` to `stop` of a shard; a shard that is read from the front is one task (stop 0)."""

    shard: str
    start: int = 0
    stop: int = 0


@dataclass
class _Answer:
    records: int = 0
    pictures: int = 0
    addresses: int = 0
    bad: list[BadRecord] = field(default_factory=list)


def verify(
    entry: CorpusConfig, workers: int = 0, found: Callable[[BadRecord], None] = lambda record: None
) -> Verification:
    """Read everything of a corpus; `found` gets each problem in the order of the files, whatever `workers` is.

    `workers` processes share the records; 0 reads in this one. Raises ConfigError for an unknown reader, DataError
    for missing files or when a process dies.
    """
    result = Verification()
    reader = open_addressed(entry.reader, entry.path, entry.field)
    files = files_of(entry.reader, entry.path)
    for problem in _check_files(files, reader, INDEX_KINDS.get(entry.reader, "")):
        result.files.append(problem)
        found(problem)
    tasks = _tasks(files if reader is None else reader.shards(), reader)
    answers = _in_processes(entry, tasks, workers) if workers else _here(entry, reader, tasks)
    for answer in answers:
        result.records += answer.records
        result.pictures += answer.pictures
        result.addresses += answer.addresses
        for record in answer.bad:
            result.bad[record.why] += 1
            found(record)
    return result


def _check_files(files: list[str], reader: Reader | None, index_kind: str) -> Iterator[BadRecord]:
    yield from check_checksums(files)
    for file in files:
        if problem := check_end(file):
            yield problem
    if reader is not None:
        for shard in reader.shards():
            if problem := check_counts(shard, reader.num_records(shard)):
                yield problem
            if index_kind and not check_index(shard, index_kind):
                yield BadRecord(shard, "wrong index", "a new scan finds other records; delete it, or prepare again")


def _tasks(shards: list[str], reader: Reader | None) -> Iterator[_Task]:
    for shard in shards:
        if reader is None:
            yield _Task(shard)
            continue
        size = reader.num_records(shard)
        for start in range(0, size, CHUNK):
            yield _Task(shard, start, min(start + CHUNK, size))


def _here(entry: CorpusConfig, reader: Reader | None, tasks: Iterator[_Task]) -> Iterator[_Answer]:
    for task in tasks:
        yield _check(entry, reader, task)


def _check(entry: CorpusConfig, reader: Reader | None, task: _Task) -> _Answer:
    answer = _Answer()
    for record in _records(entry, reader, task):
        answer.records += 1
        problem = record if isinstance(record, BadRecord) else _check_pictures(record, answer)
        if problem is not None:
            answer.bad.append(problem)
    return answer


def _records(entry: CorpusConfig, reader: Reader | None, task: _Task) -> Iterator[Seen | BadRecord]:
    if reader is None:
        return look(entry.reader, task.shard, entry.field)
    return (read_one(reader, task.shard, record) for record in range(task.start, task.stop))


def _check_pictures(record: Seen, answer: _Answer) -> BadRecord | None:
    """The first broken picture makes the record bad."""
    problem = None
    for segment in record.document:
        if not isinstance(segment, Image):
            continue
        if address_of(segment) is not None:
            answer.addresses += 1
            continue
        answer.pictures += 1
        try:
            decode_image(segment)
        except ImageError as error:
            problem = problem or BadRecord(record.where, "broken picture", str(error))
    return problem


def _in_processes(entry: CorpusConfig, tasks: Iterator[_Task], workers: int) -> Iterator[_Answer]:
    """The answers in the order of the tasks, a few of which wait for each process."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_open, initargs=(entry,))
    try:
        waiting = deque(pool.submit(_check_there, task) for task in islice(tasks, 4 * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(_check_there, task) for task in islice(tasks, 1))
    except BaseException as error:
        # A task can be a file that takes hours.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise DataError(f"{entry.path}: a process that read it died; --workers 0 shows why") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


# What a process of the pool reads from: opened once, in that process.
_opened: dict[str, tuple[CorpusConfig, Reader | None]] = {}


def _open(entry: CorpusConfig) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends the pool
    _opened["corpus"] = entry, open_addressed(entry.reader, entry.path, entry.field)


def _check_there(task: _Task) -> _Answer:
    return _check(*_opened["corpus"], task)
