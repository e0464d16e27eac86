"""Figures of the rows that a recipe makes of its corpora: what a step is filled with, measured on the real stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kosmos.config import DataConfig
from kosmos.data.rows import ProcessorLike
from kosmos.data.stream import Step, build_stream


@dataclass
class CorpusProgress:
    """How far one corpus has gone into rows: `taken` of its `records`, without those that wait for a row.

    `weight` is its share of the source by the recipe, `share` what it has had (0 to 1).
    """

    name: str
    records: int
    weight: float
    share: float = 0.0
    taken: int = 0

    @property
    def epochs(self) -> float:
        return self.taken / self.records


@dataclass
class SourceFigures:
    """One source over some steps. `slots` are places for tokens; `padding` are those that hold none.

    `records` were read for it; `bad_records` and `events` (cut documents and sentences, dropped pictures) count
    among them by reason.
    """

    rows: int = 0
    slots: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    images: int = 0
    padding: int = 0
    records: int = 0
    bad_records: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    corpora: list[CorpusProgress] = field(default_factory=list)

    @property
    def padding_fraction(self) -> float:
        return self.padding / self.slots


def measure_rows(config: DataConfig, processor: ProcessorLike, seed: int, steps: int) -> dict[str, SourceFigures]:
    """The figures of every source over the first `steps` steps, pictures decoded and all.

    Raises what the stream raises: ConfigError for the layout, DataError for files or too many bad records.
    """
    figures = {name: SourceFigures() for name in config.sources}
    stream = build_stream(config, processor, seed)
    step: Step | None = None
    try:
        for _ in range(steps):
            step = next(stream)
            for name, counts in step.counts.items():
                source = figures[name]
                source.rows += counts.rows
                source.slots += counts.rows * config.sources[name].row_length
                source.tokens += counts.tokens
                source.supervised_tokens += counts.supervised_tokens
                source.images += counts.images
                source.padding += counts.padding
    finally:
        stream.close()
    if step is not None:
        for name, counts in step.counts.items():  # these count from the beginning
            figures[name].records = counts.records
            figures[name].bad_records = counts.bad_records
            figures[name].events = counts.events
            figures[name].corpora = _progress(config, step, name)
    return figures


def _progress(config: DataConfig, step: Step, name: str) -> list[CorpusProgress]:
    """From the state of the last step, where each lane says what it has drawn of each corpus."""
    state = step.state["sources"][name]
    entries = config.sources[name].corpora
    total = sum(entry.weight for entry in entries)
    lanes = list(state["lanes"].values())
    spent = [sum(lane["spent"][number] for lane in lanes) for number in range(len(entries))]
    return [
        CorpusProgress(
            name=entry.path or entry.reader,
            records=records,
            weight=entry.weight / total,
            share=spent[number] / max(1, sum(spent)),
            taken=sum(lane["turns"][number] - _waiting(lane, number) for lane in lanes),
        )
        for number, (entry, records) in enumerate(zip(entries, state["records"], strict=True))
    ]


def _waiting(lane: dict[str, Any], corpus: int) -> int:
    """Documents of a corpus that a lane has read and put into no row yet."""
    return sum(1 for number, _, part, _ in lane.get("pending", ()) if number == corpus and part == 0)
