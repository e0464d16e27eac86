"""Elasticity: does a run that goes on with another number of ranks see the same stream?

    python -m benchmarks.data.elasticity FOLDER

A global batch has 12 records whatever the number of ranks. A run makes 12 steps on some ranks, its states are handed to
another number of ranks, and these make 12 steps more. `different` counts the records that are in a step of the changed
run and not in the same step of the run that kept its ranks; `repeated` were seen before the change. The order of the
records within a step is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.data import id_streams, measure
from benchmarks.data.id_streams import IdStream

GLOBAL_BATCH = 12
STEPS = 12
CHANGES = ((2, 1), (1, 2), (2, 3))

# (folder, states of all ranks before or None, world size) -> the ranks' streams
Ranks = Callable[[Path, list[Any] | None, int], list[IdStream]]


def ours(folder: Path, states: list[Any] | None, world: int) -> list[IdStream]:
    state = None if states is None else id_streams.merged(states)
    return [id_streams.ours(folder, state, rank, world, GLOBAL_BATCH // world) for rank in range(world)]


def energon_redist(folder: Path, states: list[Any] | None, world: int) -> list[IdStream]:
    """Ranks x workers is always 6, micro-batches of 2; states go through `energon checkpoint redist`."""
    given = [None] * world if states is None else id_streams.energon_redistributed(states, world)
    return [
        id_streams.energon(folder, given[rank], rank, world, GLOBAL_BATCH // world, workers=6 // world, micro=2)
        for rank in range(world)
    ]


def energon_fixed(folder: Path, states: list[Any] | None, world: int) -> list[IdStream]:
    """Two workers a rank whatever the number of ranks, as a configuration has it; micro-batches of 2."""
    given = [None] * world if states is None else id_streams.energon_redistributed(states, world)
    return [
        id_streams.energon(folder, given[rank], rank, world, GLOBAL_BATCH // world, workers=2, micro=2)
        for rank in range(world)
    ]


def _by_rank(opener: Callable[..., IdStream]) -> Ranks:
    """Each rank goes on with the state of the rank of its number, or of one that is left over."""

    def ranks(folder: Path, states: list[Any] | None, world: int) -> list[IdStream]:
        given = [None] * world if states is None else [states[rank % len(states)] for rank in range(world)]
        return [opener(folder, given[rank], rank, world, GLOBAL_BATCH // world) for rank in range(world)]

    return ranks


def grain(folder: Path, states: list[Any] | None, world: int) -> list[IdStream]:
    """Without worker processes, so that the state is one number."""
    given = [None] * world if states is None else [states[rank % len(states)] for rank in range(world)]
    return [
        id_streams.grain(folder, given[rank], rank, world, GLOBAL_BATCH // world, workers=0) for rank in range(world)
    ]


def _scaled(state: Any, old: int, new: int) -> Any:
    """A grain state with its position converted from records of one rank to those of another number of ranks."""
    if isinstance(state, dict):
        return {key: _scaled(value, old, new) for key, value in state.items()}
    return state * old // new if isinstance(state, int) and not isinstance(state, bool) else state


def grain_by_hand(folder: Path, states: list[Any] | None, world: int) -> list[IdStream]:
    """As `grain`, with the position in the state multiplied by the old number of ranks and divided by the new."""
    scaled = None if states is None else [_scaled(states[0], len(states), world)] * world
    return grain(folder, scaled, world)


CONTESTANTS: dict[str, Ranks] = {
    "ours": ours,
    "energon, ranks x workers = 6, redist tool": energon_redist,
    "energon, 2 workers a rank, redist tool": energon_fixed,
    "StatefulDataLoader + HF datasets": _by_rank(id_streams.stateful_hf),
    "the same, no workers, not shuffled": _by_rank(partial(id_streams.stateful_hf, workers=0, shuffle=False)),
    "grain": grain,
    "grain, position converted by hand": grain_by_hand,
}


def _steps(ranks: list[IdStream], count: int) -> list[set[str]]:
    return [{name for rank in ranks for name in next(rank)} for _ in range(count)]


def contest(open_ranks: Ranks, folder: Path, old: int, new: int) -> dict[str, Any]:
    before = open_ranks(folder, None, old)
    seen = set().union(*_steps(before, STEPS))
    states = [rank.state() for rank in before]
    expected = _steps(before, STEPS)
    after = open_ranks(folder, states, new)
    found = _steps(after, STEPS)
    for rank in [*before, *after]:
        rank.close()
    different = sum(len(a - b) for a, b in zip(found, expected, strict=True))
    repeated = sum(len(step & seen) for step in found)
    return {"different": different, "repeated": repeated, "of": STEPS * GLOBAL_BATCH}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = measure.parser(__doc__ or "")
    options.add_argument("folder", type=Path)
    options.add_argument("--only", nargs="*", default=list(CONTESTANTS), choices=list(CONTESTANTS))
    args = options.parse_args(argv)
    folder = args.folder / "ids-12x100"
    if not folder.exists():
        id_streams.write(folder, 12, 100)
    rows = []
    for name in args.only:
        row: dict[str, Any] = {"loader": name}
        for old, new in CHANGES:
            answer = measure.apart(partial(contest, CONTESTANTS[name], folder, old, new), args.small)
            error = answer.get("error")
            row[f"{old} -> {new}"] = error or f"{answer['different']} different, {answer['repeated']} repeated"
            row[f"kept {old} -> {new}"] = error is None and answer["different"] == 0
        rows.append(row)
    print(measure.table(rows, ["loader", *(f"{old} -> {new}" for old, new in CHANGES)]))
    result = {"of": STEPS * GLOBAL_BATCH, "rows": rows}
    measure.finish("elasticity", result)
    return result


if __name__ == "__main__":
    main()
