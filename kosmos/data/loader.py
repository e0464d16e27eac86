"""The loader: the stream of steps made in line, or by one process of its own ahead of the training."""

from __future__ import annotations

from typing import Any

from kosmos.config import DataConfig
from kosmos.data.stream import ProcessorLike, StepStream, build_stream


def open_stream(
    config: DataConfig, processor: ProcessorLike, seed: int, state: dict[str, Any] | None = None
) -> StepStream:
    """The stream of a mixture, from its beginning or from a saved state."""
    stream = build_stream(config, processor, seed)
    if state is not None:
        stream.load_state(state)
    return stream
