"""The stream of training steps: exact rows of every source, in micro-batches, with a state to go on from.

The rows of a step do not depend on how they are divided into micro-batches or on who makes them. The state is small
and JSON-able, and belongs to the step it came with: a step made ahead of time leaves no trace in an earlier state.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from kosmos.batch import Batch, Sequence, collate
from kosmos.config import DataConfig, SourceConfig
from kosmos.data.corpora import Encoder, open_corpora
from kosmos.data.health import Health
from kosmos.data.lanes import DocumentLane, FullSentenceLane, Lane, LaneSettings
from kosmos.data.packing import Breaks, Vocabulary
from kosmos.data.permutation import seed_of
from kosmos.data.readers import BadRecord
from kosmos.errors import ConfigError, DataError


@dataclass
class SourceCounts:
    """What one source put into a step. `tokens` counts image slots and `<s>` too; `padding` are the unused slots.

    `bad_records` by reason and `events` (documents cut, pictures dropped) count from the run's beginning.
    """

    rows: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    images: int = 0
    padding: int = 0
    bad_records: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)


@dataclass
class Step:
    """One optimizer step's data. `state` goes on after it; `bad` are the records skipped while making it."""

    number: int
    batches: list[Batch]
    counts: dict[str, SourceCounts]
    state: dict[str, Any]
    bad: list[tuple[str, BadRecord]] = field(default_factory=list)


class StepStream(Iterator[Step], Protocol):
    """An endless stream of steps; `close` ends what runs behind it."""

    def close(self) -> None: ...


class TokenIds(Vocabulary, Protocol):
    """The tokenizer's ids that the rows need."""

    bos_id: int
    eos_id: int
    pad_id: int

    @property
    def line_id(self) -> int: ...


class ProcessorLike(Encoder, Protocol):
    """`kosmos.processor.Processor`, as far as the stream uses it."""

    @property
    def tokenizer(self) -> Any: ...


class Source:
    """The lanes of one source and their health."""

    def __init__(
        self, name: str, config: SourceConfig, data: DataConfig, processor: ProcessorLike, breaks: Breaks, seed: int
    ) -> None:
        _check(name, config)
        self.name = name
        self.config = config
        self._pad_id = processor.tokenizer.pad_id
        self.health = Health(name, data.max_bad_fraction)
        self.corpora = open_corpora(name, config, processor, seed)
        settings = LaneSettings(
            config=config,
            corpora=self.corpora,
            breaks=breaks,
            health=self.health,
            start_id=processor.tokenizer.bos_id,
            look_ahead=data.look_ahead,
            seed=seed_of(seed, zlib.crc32(name.encode())),
        )
        kind = DocumentLane if config.leading_start else FullSentenceLane
        self.lanes: list[Lane] = [kind(number, settings) for number in range(config.rows_per_step)]

    def step(self) -> tuple[list[Batch], SourceCounts]:
        """The batches of one step, and what is in them."""
        config = self.config
        rows = [lane.next_row() for lane in self.lanes]
        batches = []
        for first in range(0, len(rows), config.micro_batch_rows):
            batch = collate(rows[first : first + config.micro_batch_rows], self._pad_id, length=config.row_length)
            batch.source = self.name
            batches.append(batch)
        return batches, self._count(rows)

    def _count(self, rows: list[Sequence]) -> SourceCounts:
        tokens = sum(len(row) for row in rows)
        return SourceCounts(
            rows=len(rows),
            tokens=tokens,
            supervised_tokens=sum(int(row.supervised[1:].sum()) for row in rows),
            images=sum(item.modality == "image" for row in rows for item in row.inputs),
            padding=len(rows) * self.config.row_length - tokens,
            bad_records=dict(self.health.bad),
            events=dict(self.health.events),
        )

    def state(self) -> dict[str, Any]:
        return {
            "lanes": [lane.state() for lane in self.lanes],
            "health": self.health.state(),
            "records": [corpus.num_records for corpus in self.corpora],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        for corpus, records in zip(self.corpora, state["records"], strict=True):
            if corpus.num_records != records:
                raise DataError(
                    f"{corpus.name}: {corpus.num_records} records, but {records} when the checkpoint was made; "
                    "restore the files, or start a new run"
                )
        self.health.load_state(state["health"])
        for lane, lane_state in zip(self.lanes, state["lanes"], strict=True):
            lane.load_state(lane_state)


class Stream:
    """The steps of all sources, made in line."""

    def __init__(self, config: DataConfig, processor: ProcessorLike, seed: int) -> None:
        if not config.sources:
            raise ConfigError("data.sources is empty: name at least one source")
        tokenizer = processor.tokenizer
        breaks = Breaks(tokenizer, tokenizer.line_id, tokenizer.eos_id)
        self._sources = [
            Source(name, source, config, processor, breaks, seed) for name, source in config.sources.items()
        ]
        self._number = 0

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Step:
        batches: list[Batch] = []
        counts: dict[str, SourceCounts] = {}
        bad: list[tuple[str, BadRecord]] = []
        for source in self._sources:
            made, counts[source.name] = source.step()
            batches += made
            bad += [(source.name, record) for record in source.health.fresh]
            source.health.fresh = []
        self._number += 1
        return Step(self._number, batches, counts, self.state(), bad)

    def state(self) -> dict[str, Any]:
        """Where the stream stands: a JSON-able object that `load_state` goes on from exactly."""
        return {"step": self._number, "sources": {source.name: source.state() for source in self._sources}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on after the step the state belongs to. Raises DataError when the data or the layout is another."""
        if list(state["sources"]) != [source.name for source in self._sources]:
            raise DataError(f"the checkpoint's sources are {', '.join(state['sources'])}, not those of this run")
        self._number = state["step"]
        for source in self._sources:
            source.load_state(state["sources"][source.name])

    def close(self) -> None:
        """Nothing runs behind an in-line stream."""


def build_stream(config: DataConfig, processor: ProcessorLike, seed: int) -> Stream:
    """The in-line stream of a mixture. Raises ConfigError for a layout that cannot work, DataError for its files."""
    return Stream(config, processor, seed)


def _check(name: str, config: SourceConfig) -> None:
    for key in ("rows_per_step", "micro_batch_rows"):
        if getattr(config, key) < 1:
            raise ConfigError(f"data.sources.{name}.{key} must be at least 1, not {getattr(config, key)}")
    if config.row_length < 2:
        raise ConfigError(f"data.sources.{name}.row_length must be at least 2, not {config.row_length}")
    if config.document_mask and not config.leading_start:
        raise ConfigError(f"data.sources.{name}: document_mask needs leading_start: true")
