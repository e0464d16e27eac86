"""A reader over Documents in memory, for streams whose rows can be predicted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from kosmos.batch import Batch
from kosmos.config import CorpusConfig, DataConfig, SourceConfig
from kosmos.data.readers import BadRecord, register_reader
from kosmos.data.stream import Step, Stream, build_stream
from kosmos.document import Document
from tests.data.words import WordProcessor

CORPORA: dict[str, list[Document | BadRecord]] = {}
READS: Counter[tuple[str, int, int]] = Counter()


class MemoryReader:
    """Documents of CORPORA[path] in shards of 3; what is read is counted in READS."""

    def __init__(self, entry: CorpusConfig, seed: int) -> None:
        self._path = entry.path
        self._documents = CORPORA[entry.path]

    def shards(self) -> list[str]:
        return [str(first) for first in range(0, len(self._documents), 3)]

    def num_records(self, shard: str) -> int:
        return min(3, len(self._documents) - int(shard))

    def read(self, shard: str, record: int, epoch: int) -> Document | BadRecord:
        index = int(shard) + record
        READS[self._path, epoch, index] += 1
        return self._documents[index]


register_reader("memory", MemoryReader)


def corpus(name: str, documents: list[Document | BadRecord], weight: float = 1.0) -> CorpusConfig:
    """Put documents in memory and name them as a corpus."""
    CORPORA[name] = documents
    return CorpusConfig("memory", name, weight)


def source(*corpora: CorpusConfig, rows: int = 2, micro: int = 1, length: int = 16, **kinds: Any) -> SourceConfig:
    return SourceConfig(rows, micro, length, corpora, **kinds)


def stream(
    layout: dict[str, SourceConfig] | None = None,
    /,
    seed: int = 1,
    look_ahead: int = 4,
    max_bad: float = 1.0,
    state: dict[str, Any] | None = None,
    rank: int = 0,
    world_size: int = 1,
    window: int = 1 << 14,
    **named: SourceConfig,
) -> Stream:
    """A stream of the sources in `layout` and of those named."""
    READS.clear()
    sources = {**(layout or {}), **named}
    config = DataConfig(sources=sources, look_ahead=look_ahead, max_bad_fraction=max_bad, shuffle_window=window)
    return build_stream(config, WordProcessor(), seed, state, rank, world_size)


def rows(step: Step, name: str) -> list[list[int]]:
    """The rows of a source in a step, without padding."""
    found: list[list[int]] = []
    for batch in step.batches:
        if batch.source == name:
            found += [[token for token in row if token != 1] for row in batch.token_ids.tolist()]
    return found


def content(batch: Batch) -> tuple[Any, ...]:
    """Everything in a batch, comparable."""
    return (
        batch.source,
        batch.token_ids.tolist(),
        batch.supervised.tolist(),
        None if batch.segment_ids is None else batch.segment_ids.tolist(),
        {name: (inputs.features.tolist(), inputs.slots.tolist()) for name, inputs in batch.inputs.items()},
    )


def contents(step: Step) -> list[tuple[Any, ...]]:
    return [content(batch) for batch in step.batches]


def with_micro(config: SourceConfig, micro: int) -> SourceConfig:
    return replace(config, micro_batch_rows=micro)
