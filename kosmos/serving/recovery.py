"""After an error of the engine: memory given back, or the error told to the log."""

from __future__ import annotations

import logging

from kosmos.errors import KosmosError
from kosmos.inference.engine import Engine
from kosmos.inference.memory import free_memory, is_out_of_memory

logger = logging.getLogger(__name__)


def recover(engine: Engine, error: Exception) -> None:
    """Free what can be freed after a lack of memory. Anything else that is not a request's own fault is logged."""
    if not is_out_of_memory(error):
        if not isinstance(error, KosmosError):
            logger.error("the engine failed", exc_info=error)
        return
    free_memory(engine)
