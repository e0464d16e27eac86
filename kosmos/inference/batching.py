"""Batches over any number of prompts: what fits, in which order, and what happens when it did not fit after all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from kosmos.batch import Sequence as Row
from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.inference.decode_step import step_dtype
from kosmos.inference.memory import free_memory, is_out_of_memory
from kosmos.inference.prefix import Prefix
from kosmos.inference.sharing import batches

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine

# Padded tokens of one pass over prompts: large enough to fill the cores, small enough for the memory of a laptop.
TOKEN_BUDGET = 8192
# Documents encoded ahead and sorted by length together; bounds the memory of their pictures.
_WINDOW = 1024
# Keys and values that a batch may hold: on a CPU so many bytes, on a GPU this share of all its memory (not of what is
# free: batches should be the same in every run).
_CPU_BYTES = 4 << 30
_GPU_SHARE = 0.3

Result = TypeVar("Result")
Work = Callable[[list[int], list[Prefix]], list[Result]]


def in_batches(
    engine: Engine, documents: Sequence[Document], batch_size: int | None, columns: int, work: Work[Result]
) -> list[Result]:
    """Do `work` (indices and their prefixes to results) over all documents, batch by batch; results in order.

    `columns`: how many columns of keys and values are written behind a prompt.
    """
    limit = engine.pool.num_free if batch_size is None else min(batch_size, engine.pool.num_free)
    if limit < 1:
        reason = "it must be at least 1" if batch_size is not None and batch_size < 1 else "all slots are in use"
        raise UsageError(f"no room for a batch: batch_size is {batch_size}: {reason}")
    rooms = room(engine)
    results: dict[int, Result] = {}
    for first in range(0, len(documents), _WINDOW):
        window = documents[first : first + _WINDOW]
        rows = [engine.encode(document) for document in window]

        def fitting(longest: int) -> int:
            return min(limit, rows_that_fit(rooms, longest + columns))

        waiting = batches(engine.identities(rows), fitting, TOKEN_BUDGET)[::-1]
        while waiting:
            chosen = waiting.pop()
            indices = [first + index for index in chosen]
            made = _attempt(engine, [window[i] for i in chosen], [rows[i] for i in chosen], indices, work)
            if made is not None:
                results.update(zip(indices, made, strict=True))
                continue
            _after_out_of_memory(engine, len(rows[chosen[0]]), len(chosen))
            half = len(chosen) // 2
            waiting += [chosen[half:], chosen[:half]]
    return [results[index] for index in range(len(documents))]


def room(engine: Engine) -> int:
    """Columns of keys and values, over all rows, that a batch may hold."""
    config = engine.model.config.decoder
    column = 2 * config.num_layers * config.hidden_size * step_dtype(engine.model.decoder, engine.precision).itemsize
    if engine.device.type == "cuda":
        return int(torch.cuda.get_device_properties(engine.device).total_memory * _GPU_SHARE) // column
    return _CPU_BYTES // column


def rows_that_fit(columns: int, length: int) -> int:
    """Rows of `length` columns in a pool that holds `columns`: it grows by powers of two in both directions."""
    rows = columns // (1 << (length - 1).bit_length())
    return 1 << (rows.bit_length() - 1) if rows > 1 else 1


def _attempt(
    engine: Engine, documents: list[Document], rows: list[Row], indices: list[int], work: Work[Result]
) -> list[Result] | None:
    """One batch, or None when the memory did not suffice."""
    prefixes: list[Prefix] = []
    try:
        prefixes = engine.prefill_rows(documents, rows)
        return work(indices, prefixes)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    finally:
        for prefix in prefixes:
            prefix.free()


def _after_out_of_memory(engine: Engine, num_tokens: int, num_prompts: int) -> None:
    """Free what can be freed. Raises UsageError when a single prompt did not fit."""
    free_memory(engine)
    if num_prompts == 1:
        raise UsageError(
            f"out of memory with a single prompt of {num_tokens} tokens: use a shorter one, fewer beams or "
            "results, precision bf16, or a machine with more memory"
        )
