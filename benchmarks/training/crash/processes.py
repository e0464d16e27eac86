"""Runs as process groups: ranks forked from a process that has everything imported, so that a start costs little.

A rank is the trainer as it is (`kosmos.training.loop.train`), told of the others as torchrun tells it. Its data
processes belong to the same group: SIGKILL to the group leaves nothing.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
import torch._dynamo  # what the optimizer would import in each rank

from benchmarks.training.crash import trace
from kosmos.config import TrainConfig
from kosmos.errors import KosmosError
from kosmos.training.loop import train


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Ranks:
    """A run under way on `ranks` ranks. One rank alone is told nothing of ranks.

    Files beside `run`, or in `notes`: RUN.trace.RANK, and RUN.log with what the ranks printed. `die_at`: see
    `trace.Trace`. `hook(rank, trace)` is called in each rank before it trains.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: Path,
        ranks: int,
        die_at: int = 0,
        hook: Callable[[int, trace.Trace], None] | None = None,
        notes: Path | None = None,
    ) -> None:
        self.size = ranks
        notes = notes or run.parent
        self.file = notes / f"{run.name}.trace"
        self.log = notes / f"{run.name}.log"
        for rank in range(ranks):
            Path(f"{self.file}.{rank}").unlink(missing_ok=True)
        port = free_port()
        self.pids: list[int] = []
        self._codes: dict[int, int] = {}
        for rank in range(ranks):
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                self._be(config, run, rank, port, die_at, hook)
            # Both sides say it, so that it holds from the first moment on.
            os.setpgid(child, self.pids[0] if self.pids else child)
            self.pids.append(child)

    def _be(
        self,
        config: TrainConfig,
        run: Path,
        rank: int,
        port: int,
        die_at: int,
        hook: Callable[[int, trace.Trace], None] | None,
    ) -> None:
        code = 1
        try:
            os.setpgid(0, self.pids[0] if self.pids else 0)
            log = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(log, stream)
            if self.size > 1:
                told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": self.size, "MASTER_PORT": port}
                os.environ |= {name: str(value) for name, value in told.items()} | {"MASTER_ADDR": "127.0.0.1"}
            torch.set_num_threads(1)
            faulthandler.register(signal.SIGUSR1)  # where it hangs, if it does
            tracer = trace.Trace(self.file, rank, die_at)
            tracer.install()
            if hook is not None:
                hook(rank, tracer)
            train(config, run, resume=True, quiet=True)
            code = 0
        except KosmosError as error:
            print(f"rank {rank}: {error}", file=sys.stderr)
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def doing(self) -> list[tuple[str, str, str]]:
        return trace.doing(self.file, self.size)

    def alive(self) -> bool:
        """Whether any rank still runs."""
        for pid in self.pids:
            if pid not in self._codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    self._codes[pid] = os.waitstatus_to_exitcode(status)
        return len(self._codes) < len(self.pids)

    def until(self, reached: Callable[[], bool], seconds: float = 600.0) -> bool:
        """Wait until `reached()`; False when the run ended first. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while not reached():
            if not self.alive():
                return False
            if time.monotonic() > end:
                for pid in self.pids:
                    os.kill(pid, signal.SIGUSR1)
                time.sleep(1)
                self.kill()
                said = self.output()[-5000:]
                raise TimeoutError(f"nothing came for {seconds:g} s; {trace.told(self.doing())}; {said}")
            time.sleep(0.001)
        return True

    def training(self) -> bool:
        """Whether the first rank has begun its first step."""
        return self.doing()[0][0].startswith("step")

    def wait(self, seconds: float = 600.0) -> list[int]:
        """Exit codes of all ranks; those killed by a signal have its number, negative. Raises TimeoutError."""
        self.until(lambda: False, seconds)
        return [self._codes[pid] for pid in self.pids]

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        self.signal(signal.SIGKILL)
        while self.alive():
            time.sleep(0.001)

    def signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pids[0], number)
        except ProcessLookupError:
            return  # all have ended

    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


def left_alone(config: TrainConfig, run: Path, ranks: int) -> float:
    """A run that nothing happens to; returns its seconds from the first step on. Raises RuntimeError when it fails."""
    started = Ranks(config, run, ranks)
    started.until(started.training)
    begin = time.monotonic()
    codes = started.wait()
    if any(codes):
        raise RuntimeError(f"the run left alone failed: {started.output()[-2000:]}")
    return time.monotonic() - begin
