"""Health of a source: bad records are counted per reason, kept for the log, and stop the run above a rate."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kosmos.data.readers import BadRecord
from kosmos.errors import DataError

# A few bad records are no verdict on a corpus, whatever the rate.
TOLERATED = 10
# Nothing but bad records for this long means there is nothing to read, even where every rate is allowed.
MOST_IN_A_ROW = 10_000


class TooManyBadRecords(DataError):
    """A source has more bad records than the configuration allows; `found` are those not yet logged (exit code 3)."""

    def __init__(self, message: str, source: str = "", found: tuple[BadRecord, ...] = ()) -> None:
        super().__init__(message)
        self.source = source
        self.found = found

    def __reduce__(self) -> tuple[Any, ...]:
        return TooManyBadRecords, (str(self), self.source, self.found)


class Health:
    """Counts of one source. `fresh` holds the bad records found since it was last emptied."""

    def __init__(self, source: str, max_bad_fraction: float) -> None:
        self.source = source
        self.max_bad_fraction = max_bad_fraction
        self.read = 0
        self.bad: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.fresh: list[BadRecord] = []
        self._in_a_row = 0

    def good(self) -> None:
        self.read += 1
        self._in_a_row = 0

    def note(self, event: str) -> None:
        """Count something that is allowed but worth seeing, such as a document cut between rows."""
        self.events[event] += 1

    def found_bad(self, record: BadRecord) -> None:
        """Count one; raises TooManyBadRecords when there are too many."""
        self.read += 1
        self.bad[record.why] += 1
        self.fresh.append(record)
        self._in_a_row += 1
        total = sum(self.bad.values())
        too_many = total > TOLERATED and total > self.max_bad_fraction * self.read
        if too_many or self._in_a_row > MOST_IN_A_ROW:
            reasons = ", ".join(f"{why} {count}" for why, count in self.bad.most_common(3))
            raise TooManyBadRecords(
                f"source '{self.source}': {total} of {self.read} records are bad ({reasons}), more than "
                f"data.max_bad_fraction {self.max_bad_fraction:g} allows; the last: {record.where}: "
                f"{record.detail or record.why}",
                self.source,
                tuple(self.fresh),
            )

    def state(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "bad": dict(self.bad),
            "events": dict(self.events),
            "bad_in_a_row": self._in_a_row,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.read = state["read"]
        self.bad = Counter(state["bad"])
        self.events = Counter(state["events"])
        self._in_a_row = state["bad_in_a_row"]
        self.fresh = []
