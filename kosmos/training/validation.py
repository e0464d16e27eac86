"""Validation: the loss on held-out rows, by source, while training goes on."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from kosmos.config import Precision, TrainConfig
from kosmos.data.rows import ProcessorLike
from kosmos.data.stream import build_stream
from kosmos.training.joint_stream import JointStream
from kosmos.training.precision import autocast
from kosmos.training.step import StepPlan, spare_batch
from kosmos.training.world import World

# Not the run's: runs of other seeds are measured on the same rows.
_SEED = 0


class Validation:
    """Measures the recipe's held-out sources. All ranks make one and call it together.

    The rows are the same each time and on any number of ranks, and so is the order in which their losses are added.
    Raises what opening the data raises, before a run begins.
    """

    def __init__(self, config: TrainConfig, processor: ProcessorLike, world: World, precision: Precision) -> None:
        self._config = config.validation
        self._steps = config.steps
        self._processor = processor
        self._world = world
        self._precision = precision
        self._data = replace(config.data, sources=self._config.sources)
        # Opened once ahead: what is wrong with the data is known before hours have gone into training.
        self._stream = self._open() if self._config.every else None

    def due(self, step: int) -> bool:
        """Whether a validation follows step number `step`."""
        every = self._config.every
        return every > 0 and (step % every == 0 or step == self._steps)

    def measure(self, module: nn.Module) -> tuple[dict[str, dict[str, Any]], float]:
        """({source: {loss, supervised_tokens}}, seconds); `loss` is nats per supervised token, None if not finite.

        `module` is a TrainingModule, sharded or not; it is left in training mode.
        """
        begin = time.perf_counter()
        stream, self._stream = self._stream or self._open(), None
        module.eval()
        try:
            with torch.no_grad():
                mine = self._losses(module, stream)
        finally:
            stream.close()
            module.train()
            # Without a backward pass the root keeps its gathered weights, and the optimizer moves the shards.
            for part in module.modules():
                if isinstance(part, FSDPModule):
                    part.reshard()
        found = sorted(part for rank in self._world.gather(mine) for part in rank)
        return self._add_up(found), time.perf_counter() - begin

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _open(self) -> JointStream:
        own = build_stream(self._data, self._processor, _SEED, None, self._world.rank, self._world.size)
        return JointStream(own, self._world, self._data.max_bad_fraction)

    def _losses(self, module: nn.Module, stream: JointStream) -> list[tuple[int, int, str, float, int]]:
        """(batch, micro-batch, source, sum of losses, supervised tokens) of this rank's micro-batches."""
        rounds = StepPlan.of(self._data, self._world).rounds
        found = []
        for number in range(self._config.batches):
            step, _ = stream.next(stop=False)
            for index in range(rounds):
                batch = step.batches[index] if index < len(step.batches) else spare_batch()
                with autocast(self._precision, self._world.device):
                    loss, count = module(batch.to(self._world.device))
                if batch.source:
                    found.append((number, batch.number, batch.source, float(loss), int(count)))
        return found

    def _add_up(self, found: list[tuple[int, int, str, float, int]]) -> dict[str, dict[str, Any]]:
        result: dict[str, dict[str, Any]] = {}
        for name in self._config.sources:
            tokens = sum(count for _, _, source, _, count in found if source == name)
            total = math.fsum(loss for _, _, source, loss, _ in found if source == name)
            finite = tokens > 0 and math.isfinite(total)
            result[name] = {"loss": total / tokens if finite else None, "supervised_tokens": tokens}
        return result
