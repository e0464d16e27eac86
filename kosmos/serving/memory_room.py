"""Which prompts may have slots now: so many slots there are, and so many bytes of keys and values fit."""

from __future__ import annotations

from collections import Counter

from kosmos.inference.batching import room, rows_that_fit
from kosmos.inference.engine import Engine
from kosmos.inference.scoring import MOST_COLUMNS
from kosmos.serving.asks import Ask

# Of the slots; the others are kept for requests of one row, so that large ones cannot keep everybody out.
_LARGE_SHARE = 3 / 4


class MemoryRoom:
    """What is taken of the engine's slots, and by whom.

    Large are beam searches, several draws, and all prompts of a request beyond its first.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._columns = room(engine)
        self._held: dict[Ask, tuple[int, int, bool]] = {}  # slots, columns, whether it counts as large
        self._requests: Counter[object] = Counter()  # prompts of each
        self._num_large = 0  # slots
        self.num_slots = 0  # taken; other threads may read it

    def fits_alone(self, ask: Ask) -> bool:
        """Whether it could ever be answered."""
        return self._fits(*self._wants(ask))

    def is_kept_out(self, ask: Ask) -> bool:
        """Whether it waits only because the large ones have their share."""
        most = int(self._engine.pool.max_slots * _LARGE_SHARE)
        return self.is_large(ask) and self._num_large > 0 and self._num_large + ask.num_slots > most

    def is_large(self, ask: Ask) -> bool:
        return ask.kind == "beams" or ask.num_slots > 1 or self._requests[ask.request] > 0

    def take(self, ask: Ask) -> bool:
        """Reserve what it needs; False when it has to wait."""
        slots, columns = self._wants(ask)
        total = slots + self.num_slots
        longest = max([columns, *(length for _, length, _ in self._held.values())])
        if self.is_kept_out(ask) or not self._fits(total, longest):
            return False
        large = self.is_large(ask)
        self._held[ask] = slots, columns, large
        self._requests[ask.request] += 1
        self.num_slots = total
        self._num_large += slots * large
        pool = self._engine.pool
        if total > rows_that_fit(self._columns, max(pool.length_capacity, longest)):
            pool.shrink()  # its columns are those of a long request that is gone
        return True

    def give_back(self, ask: Ask) -> None:
        """Harmless when nothing is taken."""
        if ask not in self._held:
            return
        slots, _, large = self._held.pop(ask)
        self.num_slots -= slots
        self._num_large -= slots * large
        self._requests[ask.request] -= 1
        if not self._requests[ask.request]:
            del self._requests[ask.request]

    def _wants(self, ask: Ask) -> tuple[int, int]:
        return ask.num_slots, ask.num_columns(MOST_COLUMNS)

    def _fits(self, slots: int, columns: int) -> bool:
        if slots > self._engine.pool.max_slots:
            return False
        return slots <= rows_that_fit(self._columns, columns) and columns <= self._columns
