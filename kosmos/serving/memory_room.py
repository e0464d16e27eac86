"""Which prompts may have slots now: so many slots there are, and so many bytes of keys and values fit."""

from __future__ import annotations

from kosmos.inference.batching import room, rows_that_fit
from kosmos.inference.engine import Engine
from kosmos.inference.scoring import MOST_COLUMNS
from kosmos.serving.asks import Ask


class MemoryRoom:
    """What is taken of the engine's slots, and by whom."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._columns = room(engine)
        self._held: dict[Ask, tuple[int, int]] = {}  # slots and columns
        self.num_slots = 0  # taken; other threads may read it

    def fits_alone(self, ask: Ask) -> bool:
        """Whether it could ever be answered."""
        return self._fits(*self._wants(ask))

    def take(self, ask: Ask) -> bool:
        """Reserve what it needs; False when it has to wait."""
        slots, columns = self._wants(ask)
        total = slots + self.num_slots
        longest = max([columns, *(length for _, length in self._held.values())])
        if not self._fits(total, longest):
            return False
        self._held[ask] = slots, columns
        self.num_slots = total
        pool = self._engine.pool
        if total > rows_that_fit(self._columns, max(pool.length_capacity, longest)):
            pool.shrink()  # its columns are those of a long request that is gone
        return True

    def give_back(self, ask: Ask) -> None:
        """Harmless when nothing is taken."""
        slots, _ = self._held.pop(ask, (0, 0))
        self.num_slots -= slots

    def _wants(self, ask: Ask) -> tuple[int, int]:
        return ask.num_slots, ask.num_columns(MOST_COLUMNS)

    def _fits(self, slots: int, columns: int) -> bool:
        if slots > self._engine.pool.max_slots:
            return False
        return slots <= rows_that_fit(self._columns, columns) and columns <= self._columns
