"""Decode steps of fixed shape, replayed as one CUDA graph.

A graph is a list of kernels at fixed addresses, started at once: the GPU need not wait for Python. So everything that
a step reads stands in buffers that live as long as the graph, and what changes is copied into them: token ids,
positions, the columns written, who sees which column. The head is one more product behind the graph. The width of
keys and values is rounded up to whole blocks; the mask hides what is not there yet. There is one graph for each shape
and place of the rows; the least used are dropped, and all of them when the pool's buffers move.

On a CPU the same steps run without a graph, and are tested to equal the ordinary ones. Capture and replay themselves
have not been run, for want of a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kosmos.inference.cache import Step
from kosmos.inference.decode_step import PackedDecoder

# Keys and values are read in whole blocks of so many columns: more of them means fewer graphs and more bytes.
_BLOCK = 128
# Steps of more tokens (candidates being scored) come in too many shapes, and have enough work to hide Python.
_MAX_TOKENS = 16
_MAX_GRAPHS = 32
_WARM_UPS = 3


class _Shape(NamedTuple):
    first: int
    rows: int
    tokens: int
    width: int


class StaticSteps:
    """Runs steps of a packed decoder at fixed shapes; `capture`: as CUDA graphs (default: where there is a GPU)."""

    def __init__(self, decoder: PackedDecoder, capture: bool | None = None) -> None:
        self._decoder = decoder
        self._capture = capture
        self._recorded: dict[_Shape, _Recorded] = {}
        self._moves = 0

    def __call__(self, token_ids: Tensor, step: Step) -> Tensor:
        """Hidden states fp32 [B, T, D] of tokens [B, T] that continue the step's rows."""
        num_rows, num_tokens = token_ids.shape
        if num_tokens > _MAX_TOKENS:
            return self._decoder(token_ids, step)
        moves = step.pool.settle()
        if moves != self._moves:  # a graph would write where nobody looks any more
            self._recorded.clear()
            self._moves = moves
        width = min(-(-step.width // _BLOCK) * _BLOCK, step.pool.length_capacity)
        shape = _Shape(step.first, num_rows, num_tokens, width)
        recorded = self._recorded.pop(shape, None)
        if recorded is None:
            capture = token_ids.is_cuda if self._capture is None else self._capture
            recorded = _Recorded(self._decoder, step, token_ids, width, capture)
        self._recorded[shape] = recorded  # the last used stands last
        if len(self._recorded) > _MAX_GRAPHS:
            del self._recorded[next(iter(self._recorded))]
        return recorded(token_ids, step)


class StaticStep:
    """The face of a key-value cache over buffers that do not move: what a recorded step reads."""

    def __init__(self, step: Step, num_rows: int, num_tokens: int, width: int) -> None:
        device = step.columns.device
        self._pool = step.pool
        self._span = slice(step.first, step.first + num_rows)
        self._rows = torch.arange(step.first, step.first + num_rows, device=device)[:, None]
        self._positions = torch.zeros(num_rows, num_tokens, dtype=torch.long, device=device)
        self._columns = torch.zeros_like(self._positions)
        self._mask = torch.zeros(num_rows, 1, num_tokens, width, dtype=torch.bool, device=device)
        self._width = width

    def load(self, step: Step) -> None:
        """Take over where a step stands and what it sees."""
        num_tokens = self._positions.shape[1]
        self._positions.copy_(step.positions(num_tokens))
        self._columns.copy_(step.columns)
        seen = step.mask(num_tokens)
        self._mask[..., step.width :] = False
        if seen is None:
            self._mask[..., : step.width] = True
        else:
            self._mask[..., : step.width] = seen

    def positions(self, num_tokens: int) -> Tensor:
        """int64 [B, T]."""
        return self._positions

    def mask(self, num_tokens: int) -> Tensor | None:
        """bool [B, 1, T, width]."""
        return self._mask

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write [B, H, T, d] at the columns; returns [B, H, width, d]."""
        held_keys, held_values = self._pool.buffers(layer, keys)
        held_keys[self._rows, :, self._columns] = keys.transpose(1, 2)
        held_values[self._rows, :, self._columns] = values.transpose(1, 2)
        return held_keys[self._span, :, : self._width], held_values[self._span, :, : self._width]


class _Recorded:
    """One shape's buffers and, on a GPU, its graph."""

    def __init__(self, decoder: PackedDecoder, step: Step, token_ids: Tensor, width: int, capture: bool) -> None:
        num_rows, num_tokens = token_ids.shape
        self._cache = StaticStep(step, num_rows, num_tokens, width)
        self._token_ids = token_ids.clone()
        self._cache.load(step)

        def work() -> Tensor:
            return decoder(self._token_ids, self._cache)

        self._replay: Callable[[], Tensor] = _captured(work) if capture else work

    def __call__(self, token_ids: Tensor, step: Step) -> Tensor:
        self._token_ids.copy_(token_ids)
        self._cache.load(step)
        return self._replay()


def _captured(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`work` as a CUDA graph. Running it more than once does no harm: it writes the same columns each time."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries set themselves up at the first calls, which must not be recorded
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> Tensor:
        graph.replay()
        return result.clone()  # the next replay writes over it

    return replay
