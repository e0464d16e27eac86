"""What a machine can do at best, measured: bytes read a second, and operations a second of matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from kosmos.config import Precision


def measured_bandwidth(device: torch.device, num_bytes: int, seconds: float = 0.5) -> float:
    """Bytes a second: the best of several sums over a buffer of `num_bytes` (16 MB to 1 GB), with torch's threads.

    The buffer is as large as what a decode step reads: small models live in a processor's cache, large ones in memory.
    """
    count = min(max(num_bytes, 16 << 20), 1 << 30) // 4
    buffer = torch.ones(count, device=device)
    best = _best_time(lambda: buffer.sum(), device, seconds)
    return 4 * count / best


def measured_peak(device: torch.device, precision: Precision, seconds: float = 0.5, side: int = 2048) -> float:
    """Operations a second: the best of several products of two square matrices of `side` rows; at least 3 products."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    factor = torch.full((side, side), 1 / side, dtype=dtype, device=device)
    return 2 * side**3 / _best_time(lambda: factor @ factor, device, seconds)


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.inference_mode()
def _best_time(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    work()  # the first one chooses a kernel
    best, rounds, begin = float("inf"), 0, time.perf_counter()
    while rounds < 3 or time.perf_counter() - begin < seconds:
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
        rounds += 1
    return best
