"""Rows: what some lanes of every source make in one step. It runs where the data is read: in line, or in a worker.

Lane l of a source makes row l of every step, whoever runs it. So any share of the lanes can be run anywhere.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, Protocol

from kosmos.batch import Sequence
from kosmos.config import DataConfig, SourceConfig
from kosmos.data.corpora import Encoder, open_corpora
from kosmos.data.health import HealthCounts
from kosmos.data.lanes import DocumentLane, Lane, LaneSettings, TextLane
from kosmos.data.packing import Breaks
from kosmos.data.permutation import seed_of
from kosmos.errors import ConfigError, DataError


class ProcessorLike(Encoder, Protocol):
    """`kosmos.processor.Processor`, as far as the data path uses it."""

    @property
    def tokenizer(self) -> Any: ...


@dataclass
class SourceRows:
    """What one source's lanes made in a step, by lane: rows, the states after them, and what was met on the way."""

    rows: dict[int, Sequence] = field(default_factory=dict)
    states: dict[int, dict[str, Any]] = field(default_factory=dict)
    health: dict[int, HealthCounts] = field(default_factory=dict)
    records: list[int] = field(default_factory=list)

    def add(self, other: SourceRows) -> None:
        """Take in what other lanes made."""
        self.rows |= other.rows
        self.states |= other.states
        self.health |= other.health
        self.records = other.records


# The lanes of a share, by source.
Share = dict[str, tuple[int, ...]]


class RowMaker:
    """An endless iterator over steps, each the rows of the lanes in `share`."""

    def __init__(self, config: DataConfig, processor: ProcessorLike, seed: int, share: Share) -> None:
        tokenizer = processor.tokenizer
        breaks = Breaks(tokenizer, tokenizer.line_id, tokenizer.eos_id)
        self._sources = {
            name: _SourceLanes(name, source, config, processor, breaks, seed, share[name])
            for name, source in config.sources.items()
        }

    def __iter__(self) -> RowMaker:
        return self

    def __next__(self) -> dict[str, SourceRows]:
        return {name: source.step() for name, source in self._sources.items()}

    def load_state(self, sources: dict[str, Any]) -> None:
        """Go on from the states of all lanes. Raises DataError when the data is not what it was."""
        for name, source in self._sources.items():
            source.load_state(sources[name])


class _SourceLanes:
    def __init__(
        self,
        name: str,
        config: SourceConfig,
        data: DataConfig,
        processor: ProcessorLike,
        breaks: Breaks,
        seed: int,
        lanes: tuple[int, ...],
    ) -> None:
        self._corpora = open_corpora(name, config, processor, seed, data.shuffle_window, data.root)
        settings = LaneSettings(
            config=config,
            corpora=self._corpora,
            breaks=breaks,
            source=name,
            max_bad_fraction=data.max_bad_fraction,
            start_id=processor.tokenizer.bos_id,
            look_ahead=config.look_ahead or data.look_ahead or (16 if config.document_mask else 48),
            seed=seed_of(seed, zlib.crc32(name.encode())),
        )
        kind = DocumentLane if config.leading_start else TextLane
        self._lanes: dict[int, Lane] = {number: kind(number, settings) for number in lanes}

    def step(self) -> SourceRows:
        rows = {number: lane.next_row() for number, lane in self._lanes.items()}
        health = {number: lane.health.take() for number, lane in self._lanes.items()}
        states = {number: lane.state() for number, lane in self._lanes.items()}
        return SourceRows(rows, states, health, [corpus.num_records for corpus in self._corpora])

    def load_state(self, state: dict[str, Any]) -> None:
        for corpus, records in zip(self._corpora, state["records"], strict=True):
            if corpus.num_records != records:
                raise DataError(
                    f"{corpus.name}: {corpus.num_records} records, but {records} when the checkpoint was made; "
                    "restore the files, or start a new run"
                )
        for number, lane in self._lanes.items():
            lane.load_state(state["lanes"][str(number)])


def check_sources(config: DataConfig) -> None:
    """Raises ConfigError for a layout that cannot work."""
    if not config.sources:
        raise ConfigError("data.sources is empty: name at least one source")
    for key, least in (("look_ahead", 1), ("shuffle_window", 1), ("workers", 0)):
        if getattr(config, key) is not None and getattr(config, key) < least:
            raise ConfigError(f"data.{key} must be at least {least}, not {getattr(config, key)}")
    for name, source in config.sources.items():
        for key in ("rows_per_step", "micro_batch_rows", "look_ahead"):
            if getattr(source, key) is not None and getattr(source, key) < 1:
                raise ConfigError(f"data.sources.{name}.{key} must be at least 1, not {getattr(source, key)}")
        if source.row_length < 2:
            raise ConfigError(f"data.sources.{name}.row_length must be at least 2, not {source.row_length}")
        if source.document_mask and not source.leading_start:
            raise ConfigError(f"data.sources.{name}: document_mask needs leading_start: true")
        if source.packing == "stream" and source.leading_start:
            raise ConfigError(f"data.sources.{name}: packing: stream needs leading_start: false")
