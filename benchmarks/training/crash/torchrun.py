"""torchrun as users start it, and what it leaves to be seen of its ranks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training.crash.processes import free_port

# What an abort of a rank leaves in its output, whatever torchrun says.
_ABORTED = re.compile(
    r"terminate called|SIGABRT|SIGSEGV|Aborted|core dumped|Fatal Python error|double free|exitcode *: -\d"
)


@dataclass(frozen=True)
class Launch:
    """How a launch ended."""

    code: int
    output: str
    seconds: float

    @property
    def aborted(self) -> str:
        """The first line that tells of an abort."""
        return next((line.strip() for line in self.output.splitlines() if _ABORTED.search(line)), "")


def torchrun(
    arguments: list[str],
    ranks: int = 2,
    restarts: int = 0,
    seconds: float = 600.0,
    meanwhile: Callable[[subprocess.Popen[str]], None] | None = None,
) -> Launch:
    """Run `python -m torch.distributed.run` to its end; `meanwhile` is called with it once it runs.

    Raises subprocess.TimeoutExpired.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
    launcher += [f"--max-restarts={restarts}", f"--master-port={free_port()}"]
    root = str(Path(__file__).parents[3])
    begin = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([*launcher, *arguments], env=environment, stdout=output, stderr=output, text=True)
        try:
            if meanwhile is not None:
                meanwhile(process)
            process.wait(seconds)
        finally:
            process.kill()  # it has ended, but for an error here
        output.seek(0)
        return Launch(process.returncode, output.read(), time.monotonic() - begin)
