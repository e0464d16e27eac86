"""Lanes: each makes one row of every step from its own share of the records.

Lane l of L reads positions l, l + L, l + 2L, ... of every corpus. Its state names the documents it holds by address
and offset, so it is small, and a lane restored from it goes on with the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kosmos.batch import Sequence
from kosmos.config import SourceConfig
from kosmos.data.corpora import Corpus
from kosmos.data.health import LaneHealth
from kosmos.data.mixture import Mixture
from kosmos.data.packing import Breaks, Units, blocks, cut_document, fill_best, join, split_units, take, with_start
from kosmos.data.permutation import seed_of
from kosmos.data.readers import BadRecord
from kosmos.errors import DataError

# Tells these random numbers from the lane's others.
_SPREAD = 1 << 61
# Documents of so many rows hold a lane for long.
_MANY_ROWS = 8


@dataclass(frozen=True)
class LaneSettings:
    """What the lanes of one source share."""

    config: SourceConfig
    corpora: list[Corpus]
    breaks: Breaks
    source: str
    max_bad_fraction: float
    start_id: int
    look_ahead: int
    seed: int


class Lane:
    """Base: the records of a lane in order, mixed over the corpora, without the bad ones."""

    def __init__(self, number: int, settings: LaneSettings) -> None:
        config = settings.config
        self._number = number
        self._count = config.rows_per_step
        self._settings = settings
        self.health = LaneHealth(settings.source, settings.max_bad_fraction)
        self._weigh_tokens = config.weigh_by == "tokens"
        weights = [entry.weight for entry in config.corpora]
        scale = config.row_length if self._weigh_tokens else 1
        self._mixture = Mixture(weights, seed_of(settings.seed, number), scale)
        self._turns = [0] * len(weights)

    def next_row(self) -> Sequence:
        """The next packed row, at most `row_length` tokens."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        bad = {"bad": self.health.in_a_row} if self.health.in_a_row else {}
        return {"turns": list(self._turns), "spent": list(self._mixture.spent), **bad}

    def load_state(self, state: dict[str, Any]) -> None:
        self.health.in_a_row = state.get("bad", 0)
        self._turns = list(state["turns"])
        self._mixture.spent = list(state["spent"])

    def _position(self, turn: int) -> int:
        """Where this lane's record number `turn` stands in the corpus's order."""
        return self._number + turn * self._count

    def _refetch(self, corpus: int, turn: int) -> Sequence:
        """A record that was good when the state was saved."""
        sequence = self._settings.corpora[corpus].fetch(self._position(turn), lambda event: None)
        if isinstance(sequence, BadRecord):
            raise DataError(f"{sequence.where}: readable when the checkpoint was made, now {sequence.why}")
        return sequence

    def _next(self) -> tuple[int, int, Sequence]:
        """(corpus, turn, document) of the next record that can be read."""
        while True:
            corpus = self._mixture.choose()
            turn = self._turns[corpus]
            if turn == 0 and self._spread_long_documents(corpus):
                continue
            self._turns[corpus] += 1
            sequence = self._settings.corpora[corpus].fetch(self._position(turn), self.health.note)
            if not isinstance(sequence, BadRecord):
                self._mixture.spend(corpus, len(sequence) if self._weigh_tokens else 1)
                return corpus, turn, sequence
            if not self._weigh_tokens:
                self._mixture.spend(corpus, 1)
            self.health.found_bad(sequence)

    def _spread_long_documents(self, corpus: int) -> bool:
        """Whether a corpus has to wait for its first turn in this lane.

        Documents of many rows hold a lane for long. Were all lanes to begin with one, the first steps would hold
        little else, so each lane behaves as if it had had a random part of such a document before.
        """
        if not self._weigh_tokens or len(self._turns) == 1 or self._mixture.spent[corpus]:
            return False
        first = self._settings.corpora[corpus].fetch(self._position(0), lambda event: None)
        length = self._settings.config.row_length
        if isinstance(first, BadRecord) or len(first) <= _MANY_ROWS * length:
            return False
        part = seed_of(self._settings.seed, self._number, corpus, _SPREAD) / 2.0**64
        self._mixture.spend(corpus, max(1, int(part * (len(first) - length))))
        return True


class TextLane(Lane):
    """Text rows: `<s>`, then documents that follow each other, each closed by `</s>`, with no mask between them.

    A row takes whole lines and sentences, or with `packing: stream` as many tokens as it has room for.
    """

    def __init__(self, number: int, settings: LaneSettings) -> None:
        super().__init__(number, settings)
        self._room = settings.config.row_length - 1
        self._anywhere = settings.config.packing == "stream"
        self._current: tuple[int, int] | None = None
        self._document: Sequence | None = None
        self._units: Units | None = None
        self._offset = 0

    def next_row(self) -> Sequence:
        pieces: list[Sequence] = []
        room = self._room
        while room > 0:
            if self._document is None:
                self._open()
            assert self._document is not None and self._units is not None
            length = self._take(room)
            if length == 0:
                break
            pieces.append(take(self._document, self._offset, self._offset + length))
            room -= length
            self._offset += length
            if self._offset == len(self._document):
                self._current = self._document = self._units = None
        return with_start(join(pieces, separate=False), self._settings.start_id)

    def _take(self, room: int) -> int:
        """How many tokens of the current document go into what is left of the row."""
        assert self._units is not None
        index = int(self._units.ends.searchsorted(self._offset, side="right"))
        length = int(self._units.ends[index]) - self._offset
        if length <= room:
            return length
        if self._anywhere:
            return self._before_a_block(room)
        # Only what cannot fit any row is cut at a token, and then the row is filled.
        if bool(self._units.loose[index]) and length > self._room:
            self.health.note("sentence cut at a token")
            return room
        return 0

    def _before_a_block(self, room: int) -> int:
        """`room` tokens, or fewer where the row's end would fall into the slots of an image."""
        assert self._document is not None
        end = self._offset + room
        return next((start for start, stop in blocks(self._document) if start < end < stop), end) - self._offset

    def _open(self) -> None:
        """Have a document in hand: the one that the state names, or the next."""
        if self._current is not None:
            self._document = self._refetch(*self._current)
            self._units = split_units(self._document, self._room, self._settings.breaks)
            return
        while True:
            corpus, turn, sequence = self._next()
            units = split_units(sequence, self._room, self._settings.breaks)
            if units is None or len(sequence) == 0:
                self.health.found_bad(self._too_long(corpus, turn))
                continue
            self.health.good()
            self._current, self._document, self._units, self._offset = (corpus, turn), sequence, units, 0
            return

    def _too_long(self, corpus: int, turn: int) -> BadRecord:
        _, shard, record = self._settings.corpora[corpus].address(self._position(turn))
        return BadRecord(self._settings.corpora[corpus].name_of(shard, record), "an image longer than a row")

    def state(self) -> dict[str, Any]:
        held = None if self._current is None else [*self._current, self._offset]
        return super().state() | {"held": held}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._current = self._document = self._units = None
        self._offset = 0
        if state["held"] is not None:
            # Read when its row is made: a resume costs the same at any step.
            corpus, turn, self._offset = state["held"]
            self._current = (corpus, turn)


@dataclass(frozen=True)
class Pending:
    """A document, or one part of a long one, that waits for a row; after a resume it is not read yet."""

    corpus: int
    turn: int
    part: int
    length: int
    sequence: Sequence | None


class DocumentLane(Lane):
    """Rows of whole documents that each start with `<s>`, several to a row.

    The oldest pending document goes first, so none waits for ever. When the row has room for about half of the
    `look_ahead` pending ones, those that fill it best are chosen together.
    """

    def __init__(self, number: int, settings: LaneSettings) -> None:
        super().__init__(number, settings)
        self._pending: list[Pending] = []

    def next_row(self) -> Sequence:
        config = self._settings.config
        self._fill()
        chosen = [self._pending.pop(0)]
        room = config.row_length - chosen[0].length
        while True:
            self._fill()
            lengths = [item.length for item in self._pending]
            # Half is where the pending documents offer the most different sums.
            oldest_first = lengths[0] <= room and sum(lengths) <= 2 * room
            taken = [0] if oldest_first else fill_best(lengths, room)
            if not taken:
                return join([self._sequence(item) for item in chosen], separate=config.document_mask)
            chosen += [self._pending[index] for index in taken]
            room -= sum(lengths[index] for index in taken)
            for index in reversed(taken):
                del self._pending[index]

    def _fill(self) -> None:
        while len(self._pending) < self._settings.look_ahead:
            corpus, turn, sequence = self._next()
            parts = self._parts(sequence)
            if parts is None:
                _, shard, record = self._settings.corpora[corpus].address(self._position(turn))
                detail = f"{len(sequence)} tokens, rows have {self._settings.config.row_length}"
                self.health.found_bad(
                    BadRecord(self._settings.corpora[corpus].name_of(shard, record), "longer than a row", detail)
                )
                continue
            self.health.good()
            if len(parts) > 1:
                self.health.note("document cut between rows")
            self._pending += [Pending(corpus, turn, number, len(part), part) for number, part in enumerate(parts)]

    def _sequence(self, item: Pending) -> Sequence:
        if item.sequence is not None:
            return item.sequence
        parts = self._parts(self._refetch(item.corpus, item.turn))
        if parts is None or item.part >= len(parts) or len(parts[item.part]) != item.length:
            name = self._settings.corpora[item.corpus].name
            raise DataError(f"{name}: a record changed since the checkpoint was made")
        return parts[item.part]

    def _parts(self, sequence: Sequence) -> list[Sequence] | None:
        """The document as it goes into rows; None when it cannot. A masked document means nothing in parts."""
        config = self._settings.config
        if config.document_mask and len(sequence) > config.row_length:
            return None
        return cut_document(sequence, config.row_length, self._settings.start_id, self._settings.breaks)

    def state(self) -> dict[str, Any]:
        # Turns are written as how long ago, which keeps the state short.
        pending = [[p.corpus, self._turns[p.corpus] - p.turn, p.part, p.length] for p in self._pending]
        return super().state() | {"pending": pending}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._pending = [
            Pending(corpus, self._turns[corpus] - ago, part, length, None)
            for corpus, ago, part, length in state["pending"]
        ]
