"""Equal to the bit on a GPU too, where the fastest kernels add up in whatever order comes; a CPU's never do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.deterministic

_FILLING: Any = torch.utils.deterministic  # its switch is not known to type checkers


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Inside, where `wanted`, only kernels that give the same bits each time; what has none raises RuntimeError.

    To be entered before anything is computed on the GPU: cuBLAS looks at its setting once.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = _FILLING.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # That finds programs that read what they never wrote, and costs a pass over every new tensor.
    _FILLING.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        _FILLING.fill_uninitialized_memory = filled
