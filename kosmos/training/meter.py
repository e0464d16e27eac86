"""What a clock and the machine say of a step: speed, MFU, wait for data, memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from typing import Any

import torch

from kosmos.config import ModelConfig, Precision, TrainConfig
from kosmos.data.stream import SourceCounts
from kosmos.training.flops import Amount, step_flops
from kosmos.training.hardware import peak_of
from kosmos.training.world import World


class Meter:
    """Makes the `timing` of metrics.jsonl: the only part of a line that differs between equal runs.

    `mfu` is a fraction of the peak of all ranks' devices (kosmos/training/flops.py says what counts). Memory is the
    most that this rank has used: of the GPU, or without one of the process.
    """

    def __init__(self, config: TrainConfig, model: ModelConfig, world: World, precision: Precision) -> None:
        self._model = model
        self._row_lengths = {name: source.row_length for name, source in config.data.sources.items()}
        self._device = world.device
        self.peak = peak_of(world.device, precision)
        self._peak_of_all = self.peak.flops * world.size

    def timing(self, counts: Mapping[str, SourceCounts], seconds: float, data_wait: float) -> dict[str, Any]:
        """`seconds` is the step's wall time with the wait for data, `data_wait` that wait, `counts` are all ranks'."""
        flops = step_flops(
            self._model,
            [Amount(count.tokens, self._row_lengths[name], count.images) for name, count in counts.items()],
        ).counted
        return {
            "seconds": round(seconds, 6),
            "data_wait": round(data_wait, 6),
            "data_wait_percent": round(100 * data_wait / seconds, 3),
            "tokens_per_second": round(sum(count.tokens for count in counts.values()) / seconds, 3),
            "images_per_second": round(sum(count.images for count in counts.values()) / seconds, 3),
            "mfu": round(flops / (seconds * self._peak_of_all), 5),
            "peak_flops": float(f"{self.peak.flops:.4g}"),
            "peak_memory": peak_memory(self._device),
        }


def peak_memory(device: torch.device) -> int:
    """The most bytes used so far: allocated on the GPU, or resident in this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # bytes there, kibibytes elsewhere
