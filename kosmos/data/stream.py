"""The stream of training steps: exact rows of every source, in micro-batches, with a state to go on from.

A step's rows are fixed by the configuration and the seed alone: not by how many ranks share the micro-batches, by how
many workers make the rows, or by where a run was interrupted. The state is small and JSON-able, says nothing of ranks
or workers, and belongs to the step it came with: a step made ahead of time leaves no trace in an earlier state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from kosmos.batch import Batch, Sequence, collate
from kosmos.config import DataConfig
from kosmos.data.health import HealthCounts, SourceHealth, add_states
from kosmos.data.readers import BadRecord
from kosmos.data.rows import ProcessorLike, RowMaker, Share, SourceRows, check_sources
from kosmos.errors import ConfigError, DataError


@dataclass
class SourceCounts:
    """What one source put into a step. `tokens` counts image slots and `<s>` too; `padding` are the unused slots.

    `records` read, `bad_records` by reason and `events` (documents cut, pictures dropped) count from the run's
    beginning.
    """

    rows: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    images: int = 0
    padding: int = 0
    records: int = 0
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


class RowSource(Protocol):
    """What makes the rows: a RowMaker in line, or workers."""

    def __next__(self) -> dict[str, SourceRows]: ...


def micro_batches(config: DataConfig) -> list[tuple[str, range]]:
    """The micro-batches of a step in order: (source, rows). Their number is the same on any number of ranks."""
    return [
        (name, range(first, min(first + source.micro_batch_rows, source.rows_per_step)))
        for name, source in config.sources.items()
        for first in range(0, source.rows_per_step, source.micro_batch_rows)
    ]


def lanes_of_rank(config: DataConfig, rank: int, world_size: int) -> Share:
    """The lanes whose rows a rank trains on: those of the micro-batches rank, rank + world_size, ..."""
    lanes: dict[str, list[int]] = {name: [] for name in config.sources}
    for name, rows in micro_batches(config)[rank::world_size]:
        lanes[name] += rows
    return {name: tuple(numbers) for name, numbers in lanes.items()}


class Stream:
    """The steps of one rank. `open_rows(share)` gives what makes its rows; `state` is where to go on from."""

    def __init__(
        self,
        config: DataConfig,
        pad_id: int,
        open_rows: Callable[[Share, dict[str, Any] | None], RowSource],
        state: dict[str, Any] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_sources(config)
        if not 0 <= rank < world_size:
            raise ConfigError(f"rank {rank} is outside of a world of {world_size}")
        self._config = config
        self._pad_id = pad_id
        self._numbered = list(enumerate(micro_batches(config)))[rank::world_size]
        self._health = {name: SourceHealth(name, config.max_bad_fraction) for name in config.sources}
        self._judges = world_size == 1
        self._number = 0
        if state is not None:
            self._load(state, first_rank=rank == 0)
        share = lanes_of_rank(config, rank, world_size)
        self._rows = open_rows(share, state["sources"] if state is not None else None)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Step:
        made = next(self._rows)
        self._number += 1
        met = {
            name: HealthCounts.sum(source.health[lane] for lane in sorted(source.health))
            for name, source in made.items()
        }
        for name, counts in met.items():
            self._health[name].add(counts)
            # One rank alone sees all there is; of several none does, and whoever joins them judges.
            if self._judges:
                self._health[name].check(counts.found)
        return Step(
            self._number,
            self._collate(made),
            {name: self._count(name, source) for name, source in made.items()},
            self._state(made),
            [(name, record) for name, counts in met.items() for record in counts.found],
        )

    def _collate(self, made: dict[str, SourceRows]) -> list[Batch]:
        batches = []
        for number, (name, lanes) in self._numbered:
            rows = [made[name].rows[lane] for lane in lanes]
            batch = collate(rows, self._pad_id, length=self._config.sources[name].row_length)
            batch.source, batch.number = name, number
            batches.append(batch)
        return batches

    def _count(self, name: str, source: SourceRows) -> SourceCounts:
        rows: list[Sequence] = list(source.rows.values())
        tokens = sum(len(row) for row in rows)
        total = self._health[name].total
        return SourceCounts(
            rows=len(rows),
            tokens=tokens,
            supervised_tokens=sum(int(row.supervised[1:].sum()) for row in rows),
            images=sum(item.modality == "image" for row in rows for item in row.inputs),
            padding=len(rows) * self._config.sources[name].row_length - tokens,
            records=total.read,
            bad_records=dict(total.bad),
            events=dict(total.events),
        )

    def _state(self, made: dict[str, SourceRows]) -> dict[str, Any]:
        sources = {
            name: {
                "records": source.records,
                "health": self._health[name].state(),
                "lanes": {str(lane): state for lane, state in sorted(source.states.items())},
            }
            for name, source in made.items()
        }
        return {"step": self._number, "sources": sources}

    def _load(self, state: dict[str, Any], first_rank: bool) -> None:
        if list(state["sources"]) != list(self._config.sources):
            raise DataError(f"the checkpoint's sources are {', '.join(state['sources'])}, not those of this run")
        for name, source in self._config.sources.items():
            found = len(state["sources"][name]["lanes"])
            if found != source.rows_per_step:
                raise DataError(f"source '{name}': the checkpoint has {found} lanes, this run {source.rows_per_step}")
            # What was counted before is one rank's to carry, so that the sum over the ranks stays true.
            if first_rank:
                self._health[name].load_state(state["sources"][name]["health"])
        self._number = state["step"]

    def close(self) -> None:
        """End what makes the rows; safe to call again."""
        close = getattr(self._rows, "close", None)
        if close is not None:
            close()


def merge_counts(ranks: list[dict[str, SourceCounts]]) -> dict[str, SourceCounts]:
    """What all ranks together put into a step."""
    merged = {}
    for name in ranks[0]:
        parts = [counts[name] for counts in ranks]
        total = SourceCounts(bad_records=Counter(), events=Counter())
        for part in parts:
            for key in ("rows", "tokens", "supervised_tokens", "images", "padding", "records"):
                setattr(total, key, getattr(total, key) + getattr(part, key))
            total.bad_records.update(part.bad_records)  # a Counter adds
            total.events.update(part.events)
        merged[name] = replace(total, bad_records=dict(total.bad_records), events=dict(total.events))
    return merged


def merge_states(states: list[dict[str, Any]]) -> dict[str, Any]:
    """The state of a step from the states of all ranks: what any number of ranks can go on from."""
    first = states[0]
    merged = {}
    for name in first["sources"]:
        parts = [state["sources"][name] for state in states]
        lanes = {int(lane): state for part in parts for lane, state in part["lanes"].items()}
        merged[name] = {
            "records": parts[0]["records"],
            "health": add_states([part["health"] for part in parts]),
            "lanes": {str(lane): lanes[lane] for lane in sorted(lanes)},
        }
    return {"step": first["step"], "sources": merged}


def build_stream(
    config: DataConfig,
    processor: ProcessorLike,
    seed: int,
    state: dict[str, Any] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Stream:
    """The in-line stream of a mixture, from its beginning or from a step's state.

    Raises ConfigError for a layout that cannot work, DataError for its files or for a state of other data.
    """

    def open_rows(share: Share, sources: dict[str, Any] | None) -> RowMaker:
        maker = RowMaker(config, processor, seed, share)
        if sources is not None:
            maker.load_state(sources)
        return maker

    return Stream(config, processor.tokenizer.pad_id, open_rows, state, rank, world_size)
