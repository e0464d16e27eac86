"""The corpora of one source: records in the order of a seeded permutation, read and encoded.

Position p of a corpus is record `permutation_e(p % records)` of epoch e = p // records, so each record comes exactly
once an epoch and no order is kept in memory.
"""

from __future__ import annotations

import bisect
import itertools
import zlib
from collections.abc import Callable
from typing import Protocol

from kosmos.batch import Sequence
from kosmos.config import SourceConfig
from kosmos.data.permutation import Permutation, seed_of
from kosmos.data.readers import BadRecord, Reader, open_reader
from kosmos.document import Document, Image, Segment
from kosmos.errors import ConfigError, DataError, ImageError


class Encoder(Protocol):
    """Turns Documents into sequences (`kosmos.processor.Processor`)."""

    def encode(self, document: Document, *, training: bool = ..., start: bool = ..., end: bool = ...) -> Sequence: ...


class Corpus:
    """One corpus: `fetch(position)` reads and encodes. `start`: documents begin with `<s>`."""

    def __init__(self, reader: Reader, name: str, encoder: Encoder, start: bool, seed: int) -> None:
        self._reader = reader
        self._encoder = encoder
        self._start = start
        self._seed = seed
        self.name = name
        self._shards = reader.shards()
        self._bounds = list(itertools.accumulate(reader.num_records(shard) for shard in self._shards))
        self.num_records = self._bounds[-1] if self._bounds else 0
        if self.num_records == 0:
            raise DataError(f"{name}: the corpus holds no record")
        self._permutations: dict[int, Permutation] = {}

    def address(self, position: int) -> tuple[int, str, int]:
        """(epoch, shard, record) of a position."""
        epoch, index = divmod(position, self.num_records)
        if epoch not in self._permutations:
            if len(self._permutations) > 8:
                self._permutations.clear()
            self._permutations[epoch] = Permutation(self.num_records, seed_of(self._seed, epoch))
        record = self._permutations[epoch](index)
        shard = bisect.bisect_right(self._bounds, record)
        return epoch, self._shards[shard], record - (self._bounds[shard - 1] if shard else 0)

    def fetch(self, position: int, note: Callable[[str], None]) -> Sequence | BadRecord:
        """The encoded record at a position; broken pictures of a document with several are dropped and noted."""
        epoch, shard, record = self.address(position)
        document = self._reader.read(shard, record, epoch)
        if isinstance(document, BadRecord):
            return document
        where = f"{shard} record {record}"
        try:
            try:
                return self._encode(document)
            except ImageError as error:
                rest = self._without_broken(document)
                if rest is None:
                    return BadRecord(where, "broken picture", str(error))
                note("broken picture dropped")
                return self._encode(rest)
        except DataError as error:
            return BadRecord(where, "cannot be encoded", str(error))

    def _encode(self, document: Document) -> Sequence:
        return self._encoder.encode(document, training=True, start=self._start, end=True)

    def _without_broken(self, document: Document) -> Document | None:
        """The document without pictures that cannot be decoded; None when no picture is left."""
        kept: list[Segment] = []
        for segment in document:
            if isinstance(segment, Image):
                try:
                    self._encoder.encode(Document(segment), training=True, start=False, end=False)
                except ImageError:
                    continue
            kept.append(segment)
        return Document(*kept) if any(isinstance(segment, Image) for segment in kept) else None


def open_corpora(source: str, config: SourceConfig, encoder: Encoder, seed: int) -> list[Corpus]:
    """The corpora of one source, each with a seed of its own. Raises ConfigError for an empty or weightless list."""
    if not config.corpora:
        raise ConfigError(f"data.sources.{source}: name at least one corpus")
    corpora = []
    for number, entry in enumerate(config.corpora):
        if not entry.weight > 0:
            raise ConfigError(f"data.sources.{source}: the weight of {entry.path or entry.reader} must be above 0")
        own = seed_of(seed, zlib.crc32(source.encode()), number)
        # Readers may hand the seed to libraries that take 63 bits.
        reader = open_reader(entry.reader, entry.path, own >> 1)
        corpora.append(Corpus(reader, entry.path or entry.reader, encoder, config.leading_start, own))
    return corpora
