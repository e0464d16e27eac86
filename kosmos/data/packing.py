"""Packing: where an encoded document may be cut, and how pieces are laid into a row.

Full-sentence packing (paper 3.2, as the family's code does it): a row takes whole lines; a line longer than a row is
cut at sentence ends, and a sentence longer than a row at a token. The slots of an image, with the tokens that open
and close them, are never cut. Nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kosmos.batch import Sequence, SlotInput

_SENTENCE_ENDS = (".", "!", "?", "…")
_CLOSERS = "\"'”’»)]"
_WORD_START = "▁"


class Vocabulary(Protocol):
    """What packing asks of a tokenizer."""

    @property
    def vocab_size(self) -> int: ...

    def id_to_piece(self, id: int, /) -> str: ...


class Breaks:
    """Where text may be cut: after a line, or between sentences."""

    def __init__(self, vocabulary: Vocabulary, line_id: int, end_id: int) -> None:
        pieces = [vocabulary.id_to_piece(number) for number in range(vocabulary.vocab_size)]
        self._line_ends = np.array([line_id, end_id])
        self._ends_sentence = np.array([p.rstrip(_CLOSERS).endswith(_SENTENCE_ENDS) for p in pieces])
        self._closes = np.array([bool(p) and not p.strip(_CLOSERS) for p in pieces])
        self._starts_word = np.array([p.startswith(_WORD_START) for p in pieces])

    def lines(self, ids: np.ndarray) -> np.ndarray:
        """bool [T]: a line ends with this token."""
        return np.isin(ids, self._line_ends)

    def sentences(self, ids: np.ndarray) -> np.ndarray:
        """bool [T]: a sentence ends with this token (its mark, closing quotes after it, then a new word)."""
        ends = self._ends_sentence[ids]
        ends[1:] |= self._closes[ids[1:]] & ends[:-1]
        next_starts = np.ones(len(ids), dtype=bool)
        next_starts[:-1] = self._starts_word[ids[1:]]
        return ends & next_starts


@dataclass(frozen=True)
class Units:
    """`ends` int64 [U]: the ends of the pieces a row takes whole; `loose` bool [U]: may be cut at any token."""

    ends: np.ndarray
    loose: np.ndarray


def blocks(sequence: Sequence) -> list[tuple[int, int]]:
    """(start, end) of every run of slots with the token before (`<image>`) and the one after (`</image>`)."""
    return [(max(0, i.start - 1), min(len(sequence), i.start + i.num_slots + 1)) for i in sequence.inputs]


def split_units(sequence: Sequence, room: int, breaks: Breaks) -> Units | None:
    """Cut a document into pieces that a row takes whole; None when an image's slots need more than `room`.

    Pieces are lines and image blocks; a line longer than `room` tokens falls into its sentences, and a sentence
    longer than `room` is loose.
    """
    ids = sequence.token_ids
    allowed = breaks.lines(ids)
    atomic = np.zeros(len(ids), dtype=bool)
    for start, end in blocks(sequence):
        if end - start > room:
            return None
        allowed[start:end] = False
        allowed[end - 1] = True
        atomic[start:end] = True
        if start > 0:
            allowed[start - 1] = True
    if len(ids):
        allowed[-1] = True
    ends = np.flatnonzero(allowed) + 1
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    if len(ends) and (ends - starts).max() > room:
        sentences = breaks.sentences(ids)
        for start, end in zip(starts[ends - starts > room], ends[ends - starts > room], strict=True):
            allowed[start:end] |= sentences[start:end]
        ends = np.flatnonzero(allowed) + 1
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    return Units(ends, (ends - starts > room) & ~atomic[starts] if len(ends) else np.zeros(0, dtype=bool))


def take(sequence: Sequence, start: int, end: int) -> Sequence:
    """The piece [start, end) of a sequence, with the inputs whose slots lie in it."""
    return Sequence(
        token_ids=sequence.token_ids[start:end],
        supervised=sequence.supervised[start:end],
        inputs=tuple(
            SlotInput(i.modality, i.start - start, i.num_slots, i.features)
            for i in sequence.inputs
            if start <= i.start < end
        ),
    )


def with_start(piece: Sequence, start_id: int) -> Sequence:
    """The piece with an unsupervised `<s>` before it."""
    return Sequence(
        token_ids=np.concatenate([[start_id], piece.token_ids]),
        supervised=np.concatenate([[False], piece.supervised]),
        inputs=tuple(SlotInput(i.modality, i.start + 1, i.num_slots, i.features) for i in piece.inputs),
    )


def join(pieces: list[Sequence], separate: bool) -> Sequence:
    """Lay pieces end to end in one row. `separate`: number them 1, 2, ... so that they do not see each other."""
    inputs: list[SlotInput] = []
    offset = 0
    for piece in pieces:
        inputs += [SlotInput(i.modality, i.start + offset, i.num_slots, i.features) for i in piece.inputs]
        offset += len(piece)
    numbers = [np.full(len(piece), number, dtype=np.int32) for number, piece in enumerate(pieces, start=1)]
    return Sequence(
        token_ids=np.concatenate([piece.token_ids for piece in pieces]).astype(np.int64),
        supervised=np.concatenate([piece.supervised for piece in pieces]).astype(bool),
        inputs=tuple(inputs),
        segment_ids=np.concatenate(numbers) if separate else None,
    )


def fill_best(lengths: list[int], room: int) -> list[int]:
    """Which of `lengths` together come closest to `room` without passing it; earlier ones are preferred.

    Ascending indices, empty when none fits. Sums are kept as the bits of a number, so it costs microseconds.
    """
    mask = (1 << (room + 1)) - 1
    reachable = [1]
    for length in lengths:
        reachable.append((reachable[-1] | (reachable[-1] << length)) & mask)
    total = reachable[-1].bit_length() - 1
    chosen: list[int] = []
    for index in range(len(lengths) - 1, -1, -1):
        if not (reachable[index] >> total) & 1:
            chosen.append(index)
            total -= lengths[index]
    return chosen[::-1]


def cut_document(sequence: Sequence, row_length: int, start_id: int, breaks: Breaks) -> list[Sequence] | None:
    """A document that starts with `<s>`, cut into parts of at most `row_length` tokens that each start with `<s>`.

    None when an image's slots are longer than a row.
    """
    if len(sequence) <= row_length:
        return [sequence]
    body = take(sequence, 1, len(sequence))
    room = row_length - 1
    units = split_units(body, room, breaks)
    if units is None:
        return None
    parts: list[Sequence] = []
    first = 0
    last = 0
    for end, loose in zip(units.ends.tolist(), units.loose.tolist(), strict=True):
        if end - first <= room:
            last = end
            continue
        if not loose:
            parts.append(take(body, first, last))
            first, last = last, end
            continue
        while end - first > room:
            parts.append(take(body, first, first + room))
            first += room
        last = end
    if first < len(body):
        parts.append(take(body, first, len(body)))
    return [with_start(part, start_id) for part in parts]
