"""Ranks of one start meet in a store that still holds what ranks of an earlier start wrote."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from torch._C._distributed_c10d import HashStore, Store

from kosmos.errors import KosmosError
from kosmos.training.rendezvous import join

_SOON = timedelta(seconds=10)


def start(store: Store, size: int, late: int | None = None) -> list[str]:
    """What each rank reads that another has written; rank `late` comes when the others wait for it."""
    found = [""] * size

    def run(rank: int) -> None:
        if rank == late:
            threading.Event().wait(0.2)
        mine = join(store, rank, size, _SOON)
        # As gloo does: an address under the rank's number, and then that of the next one.
        mine.set(f"address/{rank}", f"{rank} of {id(found)}")
        found[rank] = mine.get(f"address/{(rank + 1) % size}").decode()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [f"{(rank + 1) % size} of {id(found)}" for rank in range(size)]
    return found


@pytest.mark.parametrize("late", [None, 0, 2])
def test_nobody_meets_the_dead(late: int | None) -> None:
    store = HashStore()
    store.set_timeout(_SOON)
    # Fewer and more ranks than before too.
    for size in (3, 3, 4, 3):
        start(store, size, late)


def test_one_alone() -> None:
    assert join(HashStore(), 0, 1, _SOON) is not None


def test_who_has_not_come_is_named() -> None:
    store = HashStore()
    start(store, 3)
    with pytest.raises(KosmosError, match="of 3 ranks these have not come: 1, 2"):
        join(store, 0, 3, timedelta(seconds=0.1))
