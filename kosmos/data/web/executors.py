"""Where a pipeline runs: this machine, Slurm or Ray. The stages are the same, and each is restartable by task."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosmos.errors import ConfigError, UsageError

KINDS = ("local", "slurm", "ray")


@dataclass(frozen=True)
class ExecutorSettings:
    """Where and how wide to run. `partition` and `time` (as 12:00:00) are Slurm's; memory is that of one task."""

    kind: str = "local"
    workers: int = 1
    partition: str = ""
    time: str = "24:00:00"
    memory_gb: int = 4

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"executor: '{self.kind}' is none of {', '.join(KINDS)}")
        if self.kind == "slurm" and not self.partition:
            raise ConfigError("executor slurm: name the partition")
        if self.workers < 1:
            raise ConfigError(f"workers: must be at least 1, not {self.workers}")


@dataclass(frozen=True)
class Stage:
    """Steps that run together, `tasks` times beside each other. A stage begins when the one before it is complete."""

    name: str
    steps: Sequence[Any]
    tasks: int


def build_executors(stages: Sequence[Stage], work: Path, settings: ExecutorSettings) -> list[Any]:
    """One datatrove executor a stage; on Slurm and Ray each depends on the one before it."""
    executors: list[Any] = []
    for stage in stages:
        common = {"pipeline": list(stage.steps), "tasks": stage.tasks, "logging_dir": str(work / stage.name)}
        workers = min(settings.workers, stage.tasks)
        depends = executors[-1] if executors else None
        if settings.kind == "local":
            executors.append(_local_executor()(workers=workers, **common))
        elif settings.kind == "slurm":
            from datatrove.executor.slurm import SlurmPipelineExecutor

            executors.append(
                SlurmPipelineExecutor(
                    workers=workers,
                    time=settings.time,
                    partition=settings.partition,
                    mem_per_cpu_gb=settings.memory_gb,
                    job_name=f"kosmos-{stage.name}",
                    depends=depends,
                    **common,
                )
            )
        else:
            from datatrove.executor.ray import RayPipelineExecutor

            executors.append(
                RayPipelineExecutor(workers=workers, mem_per_cpu_gb=settings.memory_gb, depends=depends, **common)
            )
    return executors


def run_stages(
    stages: Sequence[Stage],
    work: Path,
    settings: ExecutorSettings,
    progress: Callable[[Stage], None] | None = None,
) -> bool:
    """Run what is not complete. True when all is done, False when the jobs were handed to Slurm and go on there.

    `progress` is told of each stage before it runs here. Raises what a step raises; what is complete stays so.
    """
    executors = build_executors(stages, work, settings)
    if settings.kind != "local":
        _start(executors[-1], settings.kind)
        return settings.kind != "slurm"
    for stage, executor in zip(stages, executors):
        if progress is not None:
            progress(stage)
        executor.run()
    return True


def _start(last: Any, kind: str) -> None:
    """Start a chain of executors by its last one, which starts those it depends on."""
    try:
        last.run()
    except (FileNotFoundError, ImportError) as error:
        raise UsageError(f"executor {kind}: cannot be started on this machine: {error}") from error


def _local_executor() -> Any:
    """datatrove's local executor, quiet: its task logs go to files only, and one worker needs no server process."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.utils.logging import logger
    from datatrove.utils.stats import PipelineStats

    class QuietExecutor(LocalPipelineExecutor):  # type: ignore[misc,unused-ignore]
        pipeline: list[Any]

        def run(self) -> Any:
            logger.remove()
            if self.workers > 1:
                return super().run()
            stages = [self._run_one(rank) for rank in self.get_incomplete_ranks()]
            return sum(stages, start=PipelineStats())

        def _run_one(self, rank: int) -> Any:
            from copy import deepcopy

            pipeline = self.pipeline
            self.pipeline = deepcopy(pipeline)  # every task counts from zero
            try:
                return self._run_for_rank(rank)
            finally:
                self.pipeline = pipeline

        def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
            with contextlib.redirect_stderr(io.StringIO()):
                return super()._run_for_rank(rank, local_rank, node_rank)

    return QuietExecutor
