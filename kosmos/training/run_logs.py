"""What a run writes as it goes: metrics.jsonl, bad_records.log and events.jsonl."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from kosmos.data.readers import BadRecord
from kosmos.runs import METRICS_FILE
from kosmos.training.metrics import LineLog

BAD_RECORDS_FILE = "bad_records.log"
EVENTS_FILE = "events.jsonl"


class RunLogs:
    """The logs of a run directory, cut back to the step that the run goes on from; only the first rank has any.

    Bad records are named by the data's step, which runs ahead of the step after going back over steps that failed.
    """

    def __init__(self, run: Path, last_step: int, last_data_step: int, writes: bool) -> None:
        self._stack = ExitStack()
        self._metrics = self._bad = self._events = None
        if writes:
            self._metrics = self._stack.enter_context(LineLog(run / METRICS_FILE, last_step))
            self._bad = self._stack.enter_context(LineLog(run / BAD_RECORDS_FILE, last_data_step))
            # Never cut back: what was passed over or done again must stay known.
            self._events = self._stack.enter_context(LineLog(run / EVENTS_FILE, None))

    def __enter__(self) -> RunLogs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def metrics(self, record: dict[str, Any]) -> None:
        """One line of metrics.jsonl."""
        if self._metrics is not None:
            self._metrics.write(record)

    def bad(self, step: int, found: list[tuple[str, BadRecord]]) -> None:
        """Name the records that were passed over while the data of a step was made."""
        if self._bad is not None:
            for source, bad in found:
                line = {"step": step, "source": source, "why": bad.why, "where": bad.where, "detail": bad.detail}
                self._bad.write(line)

    def event(self, record: dict[str, Any]) -> None:
        """One line of events.jsonl: what the run did that no plan says."""
        if self._events is not None:
            self._events.write(record)

    def sync(self) -> None:
        """Have all lines on the disk."""
        for log in (self._metrics, self._bad, self._events):
            if log is not None:
                log.sync()
