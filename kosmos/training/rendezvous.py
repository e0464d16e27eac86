"""The ranks of one start find each other, and none of an earlier start.

torchrun keeps one store over all its restarts, where the addresses of ranks that died still stand (torch 2.13): a rank
that reads one before it is overwritten waits for the dead. How often was restarted is no name for a start either, for
each node counts for itself. So the first rank names the start, and tells those who are there now.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

# torch.distributed has these names too, but does not say so to type checkers.
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.constants import default_pg_timeout
from torch.distributed.rendezvous import rendezvous

from kosmos.errors import KosmosError

_PATIENCE = 0.02  # seconds between two looks


def meet(rank: int, size: int, timeout: timedelta = default_pg_timeout) -> Store:
    """A store that all ranks of this start share, empty at its beginning; all ranks call this.

    Raises KosmosError when not all have come within `timeout`.
    """
    store, _, _ = next(rendezvous("env://", rank, size, timeout=timeout))
    return join(store, rank, size, timeout)


def join(store: Store, rank: int, size: int, timeout: timedelta) -> Store:
    """The part of `store` that belongs to this start."""
    me = uuid.uuid4().hex
    if rank == 0:
        _answer(store, me, size, time.monotonic() + timeout.total_seconds())
        return PrefixStore(f"kosmos/{me}", store)
    store.set(f"kosmos/here/{rank}", me)
    name = store.get(f"kosmos/start/{me}").decode()
    store.set(f"kosmos/{name}/{rank}", "")
    return PrefixStore(f"kosmos/{name}", store)


def _answer(store: Store, name: str, size: int, end: float) -> None:
    """Tell every rank the name of the start, until all have said that they know it."""
    missing = set(range(1, size))
    answered: set[bytes] = set()
    while missing:
        for rank in sorted(missing):
            here = f"kosmos/here/{rank}"
            # What stands there may be from a rank that is dead: then nobody hears the answer, and another will come.
            if store.check([here]) and (who := store.get(here)) not in answered:
                answered.add(who)
                store.set(f"kosmos/start/{who.decode()}", name)
            if store.check([f"kosmos/{name}/{rank}"]):
                missing.discard(rank)
        if missing and time.monotonic() > end:
            raise KosmosError(f"of {size} ranks these have not come: {', '.join(map(str, sorted(missing)))}")
        if missing:
            time.sleep(_PATIENCE)
