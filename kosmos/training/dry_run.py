"""The dry run: what a recipe will take, in parameters, memory, operations and days, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from kosmos.config import Precision, TrainConfig
from kosmos.data.stream import micro_batches
from kosmos.errors import UsageError
from kosmos.model.counting import ParameterCounts, count_parameters
from kosmos.model.kosmos import Kosmos
from kosmos.model.weights import without_pretrained
from kosmos.training.expectations import Expected
from kosmos.training.flops import Amount, StepFlops, step_flops
from kosmos.training.hardware import Hardware
from kosmos.training.memory import MemoryEstimate, MicroBatch, Sizes, estimate_memory
from kosmos.training.parallel import blocks

_DAY = 86_400
# What is free of a device's memory for us: contexts, libraries and the allocator's slack take the rest.
USABLE = 0.92


@dataclass(frozen=True)
class Layout:
    """How the micro-batches of a step fall on the ranks.

    Ranks walk in step, so a round lasts as long as its largest micro-batch; `busy` is the share of their time in which
    ranks have something to do.
    """

    ranks: int
    micro_batches: dict[str, int]
    rounds: int
    spare: int  # ranks that run a blank micro-batch in the last round
    busy: float


@dataclass(frozen=True)
class DryRun:
    """Everything `kosmos train --dry-run` prints. Seconds, bytes, operations."""

    parameters: ParameterCounts
    sources: dict[str, Expected]
    flops: StepFlops
    layout: Layout
    memory: MemoryEstimate
    hardware: Hardware
    precision: Precision
    mfu: float
    steps: int
    step_seconds: float
    made_again: float  # operations of the decoder's forward pass that full activation checkpointing repeats
    checkpoint_bytes: float
    checkpoints_kept: int

    @property
    def tokens(self) -> int:
        return sum(source.tokens for source in self.sources.values())

    @property
    def images(self) -> float:
        return sum(source.images for source in self.sources.values())

    @property
    def days(self) -> float:
        return self.steps * self.step_seconds / _DAY

    @property
    def device_days(self) -> float:
        return self.days * self.layout.ranks

    @property
    def fits(self) -> bool | None:
        """Whether a rank's memory is enough; None where the device's is not known."""
        return self.memory.total <= USABLE * self.hardware.memory if self.hardware.memory else None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        sources = {name: asdict(source) | {"tokens": source.tokens} for name, source in self.sources.items()}
        return {
            "parameters": asdict(self.parameters),
            "step": {"tokens": self.tokens, "images": self.images, "sources": sources},
            "flops": asdict(self.flops)
            | {"counted": self.flops.counted, "done": self.flops.done, "made_again": self.made_again},
            "layout": asdict(self.layout),
            "memory": asdict(self.memory) | {"total": self.memory.total, "fits": self.fits},
            "hardware": asdict(self.hardware) | {"precision": self.precision, "mfu": self.mfu},
            "time": {
                "step_seconds": self.step_seconds,
                "tokens_per_second": self.tokens / self.step_seconds,
                "images_per_second": self.images / self.step_seconds,
                "steps": self.steps,
                "days": self.days,
                "device_days": self.device_days,
            },
            "disk": {"checkpoint": self.checkpoint_bytes, "checkpoints": self.checkpoints_kept},
        }


def dry_run(
    config: TrainConfig, sources: Mapping[str, Expected], hardware: Hardware, ranks: int = 1, mfu: float = 0.4
) -> DryRun:
    """What `config` takes on `ranks` devices that reach `mfu`; `sources` is what a step is expected to hold.

    Nothing is read and no weights are made. Raises UsageError for a layout or a device that cannot be.
    """
    if not config.data.sources:
        raise UsageError("the recipe has no data.sources: there is no step to look at")
    if ranks % config.parallel.replicas:
        raise UsageError(f"parallel.replicas {config.parallel.replicas} does not divide --ranks {ranks}")
    precision: Precision = "fp32" if config.precision == "fp32" or not hardware.bf16 else "bf16"
    if config.precision == "bf16" and not hardware.bf16:
        raise UsageError(f"{hardware.name} does not multiply bf16; say --precision fp32")
    parameters = count_parameters(config.model)
    costs = {name: _flops(config, {name: source.share(_rows(config, name))}) for name, source in sources.items()}
    layout, slowest = _lay_out(config, {name: flops.counted for name, flops in costs.items()}, ranks)
    batches = {
        name: MicroBatch(
            _rows(config, name),
            source.row_length,
            source.share(_rows(config, name)).supervised,
            source.share(_rows(config, name)).images,
            config.data.sources[name].document_mask,
        )
        for name, source in sources.items()
    }
    memory = estimate_memory(
        config.model, config.parallel, precision, _sizes(config, parameters), batches, ranks, layout.rounds
    )
    flops = _flops(config, sources)
    full = config.parallel.activation_checkpointing == "full"
    return DryRun(
        parameters=parameters,
        sources=dict(sources),
        flops=flops,
        layout=layout,
        memory=memory,
        hardware=hardware,
        precision=precision,
        mfu=mfu,
        steps=config.steps,
        step_seconds=slowest / (hardware.peak(precision) * mfu),
        made_again=(flops.decoder + flops.attention) / 3 if full else 0.0,
        checkpoint_bytes=4.0 * parameters.total + 8.0 * parameters.trainable,
        checkpoints_kept=_checkpoints(config),
    )


def _rows(config: TrainConfig, source: str) -> int:
    return config.data.sources[source].micro_batch_rows


def _flops(config: TrainConfig, sources: Mapping[str, Expected]) -> StepFlops:
    amounts = [Amount(s.tokens, s.row_length, s.images, s.supervised) for s in sources.values()]
    return step_flops(config.model, amounts)


def _lay_out(config: TrainConfig, costs: Mapping[str, float], ranks: int) -> tuple[Layout, float]:
    """The layout, and the operations of the largest micro-batch of each round, added up."""
    numbered = [name for name, _ in micro_batches(config.data)]
    rounds = -(-len(numbered) // ranks)
    each = [costs[name] for name in numbered]
    slowest = sum(max(each[first : first + ranks]) for first in range(0, len(each), ranks))
    counts = {name: numbered.count(name) for name in config.data.sources}
    return Layout(ranks, counts, rounds, rounds * ranks - len(numbered), sum(each) / (ranks * slowest)), slowest


def _sizes(config: TrainConfig, counts: ParameterCounts) -> Sizes:
    with torch.device("meta"):
        model = Kosmos(without_pretrained(config.model), random_vision=True)
    found = [_count(block) for block in blocks(model)]
    return Sizes(counts.total, counts.trainable, max(found), counts.total - sum(found))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _checkpoints(config: TrainConfig) -> int:
    """At the run's end: the newest, and those that `keep_every` keeps."""
    kept = config.steps // config.keep_every if config.keep_every else 0
    return min(config.keep_checkpoints + kept, max(1, config.steps // config.checkpoint_every))
