"""Telling "out of memory" from other errors."""

from __future__ import annotations

import torch

# What torch's allocator of the CPU says; it raises plain RuntimeErrors.
_CPU_WORDS = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """True for a GPU's, the CPU allocator's and Python's own lack of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_WORDS)
