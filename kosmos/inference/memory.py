"""Running out of memory: telling it from other errors, and giving back what can be given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine

# What torch's allocator of the CPU says; it raises plain RuntimeErrors.
_CPU_WORDS = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """True for a GPU's, the CPU allocator's and Python's own lack of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_WORDS)


def free_memory(engine: Engine) -> None:
    """Give back what the engine holds and can do without, after memory did not suffice; it counts as one halving."""
    engine.num_halvings += 1
    engine.pool.shrink()
    engine.embeddings.release()
    engine.features.clear()
    if engine.device.type == "cuda":
        torch.cuda.empty_cache()
