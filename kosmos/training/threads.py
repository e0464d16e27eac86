"""How many CPU threads a run uses."""

from __future__ import annotations

import os

import torch


def set_threads(wanted: int) -> int:
    """Use `wanted` threads, or for 0 what OMP_NUM_THREADS says, or one per core; returns the number."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    number = wanted or (int(told) if told.isdigit() else 0) or _cores()
    torch.set_num_threads(number)
    return number


def _cores() -> int:
    """The cores that this process may use, which a container or `taskset` can make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
