"""Health of a source: bad records are counted per reason, kept for the log, and stop the run above a rate.

A lane counts what it meets while it makes a row; the counts of all lanes are added up after each step, and there the
rate is judged. So the verdict does not depend on which process made which lane.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kosmos.data.readers import BadRecord
from kosmos.errors import DataError

# A few bad records are no verdict on a corpus, whatever the rate.
TOLERATED = 10
# One lane with nothing but bad records for this long is not chance; the second, where every rate is allowed.
MOST_IN_A_ROW = 200
MOST_IN_A_ROW_IF_ALL_ALLOWED = 10_000


class TooManyBadRecords(DataError):
    """A source has more bad records than the configuration allows; `found` are those not yet logged (exit code 3)."""

    def __init__(self, message: str, source: str = "", found: tuple[BadRecord, ...] = ()) -> None:
        super().__init__(message)
        self.source = source
        self.found = found

    def __reduce__(self) -> tuple[Any, ...]:
        return TooManyBadRecords, (str(self), self.source, self.found)


@dataclass
class HealthCounts:
    """What was met: records read, bad ones by reason, events (documents cut, pictures dropped), and the bad ones."""

    read: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    found: list[BadRecord] = field(default_factory=list)

    @classmethod
    def sum(cls, parts: Iterable[HealthCounts]) -> HealthCounts:
        total = cls()
        for part in parts:
            total.read += part.read
            total.bad.update(part.bad)
            total.events.update(part.events)
            total.found += part.found
        return total


class LaneHealth:
    """Counts of one lane since they were last taken."""

    def __init__(self, source: str, max_bad_fraction: float) -> None:
        self._source = source
        self._most_in_a_row = MOST_IN_A_ROW if max_bad_fraction < 1 else MOST_IN_A_ROW_IF_ALL_ALLOWED
        self._counts = HealthCounts()
        self.in_a_row = 0

    def good(self) -> None:
        self._counts.read += 1
        self.in_a_row = 0

    def note(self, event: str) -> None:
        """Count something that is allowed but worth seeing, such as a document cut between rows."""
        self._counts.events[event] += 1

    def found_bad(self, record: BadRecord) -> None:
        """Count one; raises TooManyBadRecords when there has been nothing else for too long."""
        counts = self._counts
        counts.read += 1
        counts.bad[record.why] += 1
        counts.found.append(record)
        self.in_a_row += 1
        if self.in_a_row >= self._most_in_a_row:
            raise TooManyBadRecords(
                f"source '{self._source}': {self.in_a_row} records are bad one after another ({_reasons(counts.bad)}); "
                f"the last: {record.where}: {record.detail or record.why}",
                self._source,
                tuple(counts.found),
            )

    def take(self) -> HealthCounts:
        """The counts, which then begin anew."""
        taken, self._counts = self._counts, HealthCounts()
        return taken


class SourceHealth:
    """Counts of one source from the run's beginning."""

    def __init__(self, source: str, max_bad_fraction: float) -> None:
        self._source = source
        self._max_bad_fraction = max_bad_fraction
        self.total = HealthCounts()

    def add(self, counts: HealthCounts) -> None:
        """Add a step's counts."""
        self.total.read += counts.read
        self.total.bad.update(counts.bad)
        self.total.events.update(counts.events)

    def check(self, found: list[BadRecord]) -> None:
        """Raise TooManyBadRecords when there are too many in all; `found` are those of the last step."""
        judge(self._source, self.total.read, self.total.bad, found, self._max_bad_fraction)

    def state(self) -> dict[str, Any]:
        return {"read": self.total.read, "bad": dict(self.total.bad), "events": dict(self.total.events)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.total = HealthCounts(state["read"], Counter(state["bad"]), Counter(state["events"]))


def judge(source: str, read: int, bad: Mapping[str, int], found: list[BadRecord], max_bad_fraction: float) -> None:
    """Raise TooManyBadRecords when of `read` records more are bad than allowed; `found` are those of the last step."""
    total = sum(bad.values())
    if found and total > TOLERATED and total > max_bad_fraction * read:
        last = found[-1]
        raise TooManyBadRecords(
            f"source '{source}': {total} of {read} records are bad ({_reasons(Counter(bad))}), more than "
            f"data.max_bad_fraction {max_bad_fraction:g} allows; the last: {last.where}: {last.detail or last.why}",
            source,
            tuple(found),
        )


def add_states(states: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of what several ranks have counted."""
    total = HealthCounts.sum(
        HealthCounts(state["read"], Counter(state["bad"]), Counter(state["events"])) for state in states
    )
    return {"read": total.read, "bad": dict(total.bad), "events": dict(total.events)}


def _reasons(bad: Counter[str]) -> str:
    return ", ".join(f"{why} {count}" for why, count in bad.most_common(3))
