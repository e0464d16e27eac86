"""The corpora of one source: records in the order of a seeded permutation, read and encoded.

Positions run through epochs. In each the shards are permuted and laid end to end, and the records are permuted within
windows of that order, so that a disk reads a few shards at a time. Each record comes exactly once an epoch, and no
order of records is kept in memory. A corpus that fits one window is permuted as a whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import numpy as np

from kosmos.batch import Sequence
from kosmos.config import SourceConfig
from kosmos.data.permutation import Permutation, seed_of
from kosmos.data.readers import BadRecord, Reader, open_reader
from kosmos.data.root import at_root
from kosmos.document import Document, Image, Segment
from kosmos.errors import ConfigError, DataError, ImageError

# Tells the order of the shards from the order within a window.
_SHARDS = 1 << 62


class Encoder(Protocol):
    """Turns Documents into sequences (`kosmos.processor.Processor`)."""

    def encode(self, document: Document, *, training: bool = ..., start: bool = ..., end: bool = ...) -> Sequence: ...


class Order:
    """Position -> (epoch, shard, record) for shards of these sizes."""

    def __init__(self, sizes: list[int], window: int, seed: int) -> None:
        self._sizes = np.array(sizes, dtype=np.int64)
        self._total = int(self._sizes.sum())
        self._window = window
        self._seed = seed
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, position: int) -> tuple[int, int, int]:
        epoch, index = divmod(position, self._total)
        shards, bounds = self._epoch(epoch)
        number, offset = divmod(index, self._window)
        first = number * self._window
        seed = seed_of(self._seed, epoch, number) if number else seed_of(self._seed, epoch)
        index = first + Permutation(min(self._window, self._total - first), seed)(offset)
        place = int(bounds.searchsorted(index, side="right"))
        return epoch, int(shards[place]), index - int(bounds[place - 1] if place else 0)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards of an epoch in order, and where each ends."""
        if epoch not in self._epochs:
            shards = np.arange(len(self._sizes))
            if self._total > self._window:
                shuffled = Permutation(len(shards), seed_of(self._seed, epoch, _SHARDS))
                shards = np.array([shuffled(number) for number in range(len(shards))])
            # Lanes are near each other, so few epochs are open at a time.
            while len(self._epochs) > 3:
                del self._epochs[next(iter(self._epochs))]
            self._epochs[epoch] = shards, self._sizes[shards].cumsum()
        return self._epochs[epoch]


class Corpus:
    """One corpus: `fetch(position)` reads and encodes. `start`: documents begin with `<s>`."""

    def __init__(
        self, reader: Reader, name: str, encoder: Encoder, start: bool, seed: int, window: int = 1 << 14
    ) -> None:
        self._reader = reader
        self._encoder = encoder
        self._start = start
        self.name = name
        self._shards = reader.shards()
        sizes = [reader.num_records(shard) for shard in self._shards]
        self.num_records = sum(sizes)
        if self.num_records == 0:
            raise DataError(f"{name}: the corpus holds no record")
        self._order = Order(sizes, window, seed)

    def address(self, position: int) -> tuple[int, str, int]:
        """(epoch, shard, record) of a position."""
        epoch, shard, record = self._order(position)
        return epoch, self._shards[shard], record

    def name_of(self, shard: str, record: int) -> str:
        """How to name a record in a log: by its key where the reader knows keys."""
        key_of = getattr(self._reader, "key", None)
        return f"{shard} record {record if key_of is None else key_of(shard, record)}"

    def fetch(self, position: int, note: Callable[[str], None]) -> Sequence | BadRecord:
        """The encoded record at a position; broken pictures of a document with several are dropped and noted."""
        epoch, shard, record = self.address(position)
        document = self._reader.read(shard, record, epoch)
        if isinstance(document, BadRecord):
            return document
        where = self.name_of(shard, record)
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


def open_corpora(
    source: str, config: SourceConfig, encoder: Encoder, seed: int, window: int, root: str = ""
) -> list[Corpus]:
    """The corpora of one source, each with a seed of its own; relative paths lie in `root`.

    Raises ConfigError for an empty or weightless list.
    """
    if not config.corpora:
        raise ConfigError(f"data.sources.{source}: name at least one corpus")
    corpora = []
    for number, entry in enumerate(config.corpora):
        if not entry.weight > 0:
            raise ConfigError(f"data.sources.{source}: the weight of {entry.path or entry.reader} must be above 0")
        own = seed_of(seed, zlib.crc32(source.encode()), number)
        entry = at_root(entry, root)
        # Readers may hand the seed to libraries that take 63 bits.
        reader = open_reader(entry, own >> 1)
        corpora.append(Corpus(reader, entry.path or entry.reader, encoder, config.leading_start, own, window))
    return corpora
