"""Ranks of an evaluation: processes that pull work from one counter, and need nothing else of each other.

Under torchrun the counter lives in its key-value store; a single process counts by itself. No collectives: a slow rank
holds nobody up, and a dead one costs the group it was at, which the next start does again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

_TIMEOUT = timedelta(minutes=5)


@dataclass
class Ranks:
    """`rank` of `size` processes, and their counters."""

    rank: int = 0
    size: int = 1
    _store: Any = None
    _counts: dict[str, int] = field(default_factory=dict)

    def next(self, name: str) -> int:
        """The next number of a counter, from 0; each number is given to one rank only."""
        if self._store is not None:
            return int(self._store.add(name, 1)) - 1
        self._counts[name] = self._counts.get(name, -1) + 1
        return self._counts[name]

    def close(self) -> None:
        self._store = None


def open_ranks() -> Ranks:
    """The rank that torchrun gave this process, or the only one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks()
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        size,
        is_master=rank == 0 and not agent,
        timeout=_TIMEOUT,
        wait_for_workers=False,
    )
    # After a restart by torchrun the store is the same: counters of the attempt before must not count.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Ranks(rank, size, PrefixStore(f"kosmos/eval/{attempt}", store))
