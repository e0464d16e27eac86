"""What torchrun starts for `restarts`: RECIPE RUN TRACE RANK DEATH PHASE, a trainer that dies once.

On its first start, rank RANK dies in a PHASE of `trace` ("step 5", "save: optimizer"): by SIGKILL (`killed`), or by an
error of no class of ours (`failed`).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from benchmarks.training.crash.trace import Trace
from kosmos.config import TrainConfig
from kosmos.config_files import load_config
from kosmos.training.loop import train


def die(death: str) -> None:
    if death == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("this rank fails, once")


def main() -> None:
    recipe, run, file, rank, death, phase = sys.argv[1:]
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        tracer = Trace(Path(file), int(os.environ["RANK"]))
        if os.environ["RANK"] == rank:
            tracer.die_in(phase, lambda: die(death))
        tracer.install()
    # Not told to resume.
    train(load_config(Path(recipe), TrainConfig), Path(run), quiet=True)


if __name__ == "__main__":
    main()
