"""The last step of a pipeline: the report, after which what the stages handed to each other is removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kosmos.data.web.counts import read_counts
from kosmos.data.web.executors import Stage
from kosmos.data.web.report import make_report, write_report
from kosmos.data.web.step import CountingStep


class WriteReport(CountingStep):
    """Writes the report of the stages before it. `stages` are (name, names of the steps, tasks)."""

    def __init__(
        self, kind: str, out: str, work: str, stages: Sequence[tuple[str, Sequence[str], int]], remove: Sequence[str]
    ) -> None:
        super().__init__("report")
        self.kind = kind
        self.out = out
        self.work = work
        self.stages = stages
        self.remove_folders = remove

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Write report.json and report.md."""
        stages = [Stage(name, [_Named(step) for step in steps], tasks) for name, steps, tasks in self.stages]
        write_report(make_report(self.kind, read_counts(Path(self.work), stages)), Path(self.out))
        for folder in self.remove_folders:
            shutil.rmtree(Path(self.work, folder), ignore_errors=True)
        yield from ()


class _Named:
    """A step's name, which is all that its counts are found by."""

    def __init__(self, name: str) -> None:
        self.name = name


def report_stage(kind: str, out: Path, work: Path, stages: Sequence[Stage], remove: Sequence[str]) -> Stage:
    """The stage that ends a pipeline."""
    described = [(stage.name, [step.name for step in stage.steps], stage.tasks) for stage in stages]
    return Stage("report", [WriteReport(kind, str(out), str(work), described, remove)], 1)
