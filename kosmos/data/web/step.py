"""Base of the pipeline's steps: counts what each rule removes, and the CPU time it took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from kosmos.errors import ConfigError

try:
    from datatrove.pipeline.base import PipelineStep
except ImportError as error:
    raise ConfigError("web pages and near-duplicates need datatrove: pip install 'kosmos[web]'") from error

# What the statistics are called: datatrove keeps one number per label and task, and adds them up.
READ, REMOVED, KEPT = "read", "removed: ", "kept"
PICTURES, PICTURE_REMOVED = "pictures", "picture removed: "
GONE_WITH_PAGE = "with its page"
CPU = "cpu microseconds"


class CountingStep(PipelineStep):  # type: ignore[misc,unused-ignore]
    """A datatrove step with a plain name, whose counts end up in the report."""

    type = "kosmos"
    name = "step"

    def __init__(self, name: str) -> None:
        self.name = name  # before datatrove's own __init__, which names the statistics after it
        super().__init__()

    def count(self, label: str, value: int = 1) -> None:
        """Add to a count; nothing is written for zero."""
        if value:
            self.stat_update(label, value=value)

    def remove(self, rule: str, pictures: int = 0) -> None:
        """Count a removed page and the pictures that go with it."""
        self.count(REMOVED + rule)
        self.count(PICTURE_REMOVED + GONE_WITH_PAGE, pictures)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Count the CPU time of the block, that of ended child processes left out."""
        start = time.process_time_ns()
        try:
            yield
        finally:
            self.count(CPU, (time.process_time_ns() - start) // 1000)
