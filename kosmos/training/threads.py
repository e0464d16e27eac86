"""How many CPU threads a run uses."""

from __future__ import annotations

import os

import torch


def set_threads(wanted: int) -> int:
    """Use `wanted` threads, or for 0 what OMP_NUM_THREADS says, or one per core; returns the number."""
    number = number_of_threads(wanted)
    torch.set_num_threads(number)
    return number


def number_of_threads(wanted: int) -> int:
    """The number that `set_threads` takes."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return wanted or (int(told) if told.isdigit() else 0) or usable_cores()


def usable_cores() -> int:
    """The cores that this process may use, which a container or `taskset` can make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
