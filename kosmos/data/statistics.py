"""Figures of a corpus: what its documents hold, counted over all records or over a sample spread evenly."""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kosmos.data.inspection import Seen, address_of, files_of, look, open_addressed, picture_facts, read_one
from kosmos.data.readers import BadRecord, Reader
from kosmos.data.readers.files import file_size
from kosmos.document import Image, Text
from kosmos.errors import ImageError

QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


class Values:
    """Whole numbers of which the sum and the quantiles are wanted."""

    def __init__(self) -> None:
        self._values = array("q")

    def add(self, value: int) -> None:
        self._values.append(value)

    def __len__(self) -> int:
        return len(self._values)

    def summary(self) -> dict[str, float] | None:
        """Sum, mean and quantiles (each a value that occurs); None when there is no value."""
        if not self._values:
            return None
        values = np.frombuffer(self._values, np.int64)
        marks = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
        quantiles = {name: int(mark) for name, mark in zip(QUANTILES, marks)}
        return {"sum": int(values.sum()), "mean": round(float(values.mean()), 2), **quantiles}


@dataclass
class CorpusFigures:
    """The figures of the records looked at; `count_tokens` counts the tokens of a text, where a tokenizer is given."""

    count_tokens: Callable[[str], int] | None = None
    records: int = 0
    by_pictures: Counter[int] = field(default_factory=Counter)
    characters: Values = field(default_factory=Values)
    supervised_characters: int = 0
    tokens: Values = field(default_factory=Values)
    widths: Values = field(default_factory=Values)
    heights: Values = field(default_factory=Values)
    picture_bytes: Values = field(default_factory=Values)
    forms: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)

    def add(self, record: Seen | BadRecord) -> None:
        """Count one record. A picture's header is read; a broken header is counted among the forms."""
        self.records += 1
        if isinstance(record, BadRecord):
            self.bad[record.why] += 1
            return
        texts = [segment for segment in record.document if isinstance(segment, Text)]
        pictures = [segment for segment in record.document if isinstance(segment, Image)]
        self.by_pictures[len(pictures)] += 1
        self.characters.add(sum(len(text.text) for text in texts))
        self.supervised_characters += sum(len(text.text) for text in texts if text.supervised)
        if self.count_tokens is not None:
            self.tokens.add(sum(map(self.count_tokens, (text.text for text in texts))))
        for picture in pictures:
            self._add_picture(picture)

    def _add_picture(self, picture: Image) -> None:
        if address_of(picture) is not None:
            self.forms["address"] += 1
            return
        try:
            facts = picture_facts(picture)
        except ImageError:
            self.forms["broken"] += 1
            return
        self.forms[facts.form] += 1
        self.widths.add(facts.width)
        self.heights.add(facts.height)
        self.picture_bytes.add(facts.bytes)

    def as_mapping(self) -> dict[str, Any]:
        """Everything as JSON takes it."""
        return {
            "documents_by_pictures": {str(number): count for number, count in sorted(self.by_pictures.items())},
            "text_characters": self.characters.summary(),
            "supervised_characters": self.supervised_characters,
            "text_tokens": self.tokens.summary(),
            "pictures": {
                "forms": dict(self.forms.most_common()),
                "width": self.widths.summary(),
                "height": self.heights.summary(),
                "bytes": self.picture_bytes.summary(),
            },
            "bad_records": dict(self.bad.most_common()),
        }


def corpus_statistics(
    reader: str, path: str, field: str = "", sample: int = 0, count_tokens: Callable[[str], int] | None = None
) -> dict[str, Any]:
    """The figures of a corpus as JSON takes them, measured on about `sample` records (0: all).

    Raises ConfigError for an unknown reader, DataError for missing files.
    """
    files = files_of(reader, path)
    opened = open_addressed(reader, path, field)
    total: int | None = None
    beginnings: Beginnings | None = None
    if opened is not None:
        total, records = sample_addressed(opened, sample)
        how = f"spread evenly over {total:,}"
    else:
        beginnings = Beginnings(reader, files, sample, field)
        records = iter(beginnings)
        how = f"the first {beginnings.most or 0:,} of each file at most, which can only be read from the front"
    figures = CorpusFigures(count_tokens)
    for record in records:
        figures.add(record)
    if beginnings is not None and beginnings.whole:
        total = figures.records
    complete = figures.records == total
    told = figures.as_mapping()
    tokens = told["text_tokens"]
    per_record = tokens["sum"] / figures.records if tokens else 0
    return {
        "path": path,
        "reader": reader,
        "files": len(files),
        "bytes": sum(map(file_size, files)),
        "records": total,
        "measured": figures.records,
        "complete": complete,
        "how": "all" if complete else how,
        **told,
        "estimated_text_tokens": round(per_record * total) if tokens and total else None,
    }


def sample_addressed(reader: Reader, sample: int) -> tuple[int, Iterator[Seen | BadRecord]]:
    """(records in all, the sample): every record when there are at most `sample` or it is 0, else that many spread
    evenly, the same ones each time, in the order of the files."""
    sizes = {shard: reader.num_records(shard) for shard in reader.shards()}
    total = sum(sizes.values())
    count = total if sample == 0 else min(sample, total)

    def records() -> Iterator[Seen | BadRecord]:
        numbers = iter(number * total // count for number in range(count))
        number = next(numbers, None)
        first = 0
        for shard, size in sizes.items():
            while number is not None and number < first + size:
                yield read_one(reader, shard, number - first)
                number = next(numbers, None)
            first += size

    return total, records()


class Beginnings:
    """Of files that can only be read from the front: the first records of each, about `sample` together; 0: all.

    `whole` tells at the end whether nothing was left out.
    """

    def __init__(self, reader: str, files: list[str], sample: int, field: str = "") -> None:
        self.most = None if sample == 0 else -(-sample // len(files))
        self.whole = True
        self._corpus = reader, field
        self._files = files

    def __iter__(self) -> Iterator[Seen | BadRecord]:
        reader, field = self._corpus
        for file in self._files:
            found = look(reader, file, field)
            yield from itertools.islice(found, self.most)
            self.whole = self.whole and next(found, None) is None
