"""Overlap with evaluation data: runs of words in common (13, as GPT-3 took them)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kosmos.data.web.settings import OverlapRules
from kosmos.data.web.words import normal_words, run_hashes, word_hashes
from kosmos.errors import DataError
from kosmos.storage import write_atomic


class OverlapIndex:
    """Hashed runs of evaluation data by their length in words: {length: sorted uint64}.

    An item of fewer than `words` words counts whole, if it has `min_words`; a shorter one is too common to be told.
    """

    def __init__(self, runs: dict[int, np.ndarray], items: int = 0, too_short: int = 0) -> None:
        self.runs = runs
        self.items = items
        self.too_short = too_short

    @classmethod
    def build(cls, texts: Iterable[str], rules: OverlapRules) -> OverlapIndex:
        """The index of some texts, one an item."""
        found: dict[int, list[np.ndarray]] = {}
        items = too_short = 0
        for text in texts:
            items += 1
            hashes = word_hashes(normal_words(text))
            if len(hashes) < rules.min_words:
                too_short += 1
                continue
            length = min(rules.words, len(hashes))
            found.setdefault(length, []).append(run_hashes(hashes, length))
        return cls({length: np.unique(np.concatenate(some)) for length, some in found.items()}, items, too_short)

    def overlaps(self, text: str) -> bool:
        """Whether the text has a run of words in common with the evaluation data."""
        if not self.runs:
            return False
        hashes = word_hashes(normal_words(text))
        return any(_any_in(run_hashes(hashes, length), known) for length, known in self.runs.items())

    def save(self, path: Path) -> None:
        """Write the index. Raises StorageError."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            counts=np.array([self.items, self.too_short]),
            **{str(length): runs for length, runs in self.runs.items()},  # type: ignore[arg-type]
        )
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> OverlapIndex:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            items, too_short = (int(value) for value in file["counts"])
            return cls({int(name): file[name] for name in file.files if name != "counts"}, items, too_short)


def _any_in(runs: np.ndarray, known: np.ndarray) -> bool:
    places = np.searchsorted(known, runs)
    places[places == len(known)] = 0
    return bool((known[places] == runs).any())


def evaluation_texts(paths: Iterable[str]) -> Iterator[str]:
    """The items of evaluation files: every string in JSON and JSON lines, cells of csv and tsv, lines of anything else.

    Raises DataError that names the file and line.
    """
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise DataError(f"{path}: cannot read the evaluation data: {reason}") from error
        yield from _texts_of(path, text)


def readable(paths: Iterable[str]) -> bool:
    """True, or DataError for the first evaluation file that cannot be read: asked before anything is begun."""
    for path in paths:
        next(evaluation_texts((path,)), None)
    return True


def _texts_of(path: str, text: str) -> Iterator[str]:
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        yield from _strings(_parsed(path, text))
    elif suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield from _strings(_parsed(f"{path} line {number}", line))
    elif suffix in (".csv", ".tsv"):
        rows = csv.reader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ",")
        yield from (cell for row in rows for cell in row if cell.strip())
    else:
        yield from (line for line in text.split("\n") if line.strip())


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}; mend the evaluation data or leave the file out") from error


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and one.strip():
            yield one
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
