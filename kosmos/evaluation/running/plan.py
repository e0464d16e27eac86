"""The plan of an evaluation: cells cut into groups of examples, the unit of work of a rank.

A group is always computed whole and alone, whoever does it: its numbers do not depend on ranks or on resuming. The
plan is a pure function of data and settings.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kosmos.document import Document
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.running.cells import Cell, Preparer
from kosmos.example import Example

# Rough tokens and examples of a group: enough to fill a batch, little enough to lose.
GROUP_COST = 32768
GROUP_SIZE = 128


@dataclass(frozen=True)
class Group:
    """Places of examples in a cell's order, of similar length."""

    name: str
    cell: int
    places: tuple[int, ...]
    cost: int


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its examples (after `limit`), and how many there were."""

    cell: Cell
    preparer: Preparer
    num_examples: int
    limit: int | None

    @cached_property
    def examples(self) -> Sequence[Example]:
        return self.preparer.examples[: self.limit]


@dataclass(frozen=True)
class Plan:
    """All cells, and their groups, the dearest first, so that the last ones to finish are short.

    `latents`, the slots of a picture, went into the costs.
    """

    cells: tuple[PlannedCell, ...]
    groups: tuple[Group, ...]
    latents: int = 0

    @property
    def cost(self) -> int:
        return sum(group.cost for group in self.groups)


def make_plan(
    cells: Sequence[Cell],
    folder_of: Callable[[Benchmark], Path],
    fits: Callable[[Document, Sequence[str]], bool],
    latents: int,
    limit: int | None = None,
) -> Plan:
    """Read the data of all cells and cut them into groups. `limit`: only the first examples of each."""
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    repeated = [name for name, count in Counter(cell.name for cell in cells).items() if count > 1]
    if repeated:
        raise UsageError(f"'{repeated[0]}' is asked for twice")
    planned: list[PlannedCell] = []
    groups: list[Group] = []
    for number, cell in enumerate(cells):
        preparer = Preparer(cell, folder_of(cell.benchmark), fits, latents)
        examples = preparer.examples
        if not examples:
            raise DataError(f"benchmark {cell.benchmark.name}: its split {cell.benchmark.split} is empty")
        twice = [name for name, count in Counter(example.id for example in examples).items() if count > 1]
        if twice:
            raise DataError(f"benchmark {cell.benchmark.name}: two examples have the id '{twice[0]}'")
        planned.append(PlannedCell(cell, preparer, len(examples), limit))
        groups += _groups(number, cell, preparer, limit)
    return Plan(tuple(planned), tuple(sorted(groups, key=lambda group: (-group.cost, group.name))), latents)


def _groups(number: int, cell: Cell, preparer: Preparer, limit: int | None) -> list[Group]:
    each = cell.shots + 1
    options = 1 if cell.benchmark.mode in ("generate", "names", "choice") else 4
    costs = [preparer.cost(example) * each * options for example in preparer.examples[:limit]]
    order = sorted(range(len(costs)), key=lambda place: (-costs[place], place))
    made: list[Group] = []
    first = 0
    while first < len(order):
        size = max(1, min(GROUP_SIZE, GROUP_COST // max(1, costs[order[first]])))
        places = order[first : first + size]
        made.append(Group(f"{cell.name}/{len(made):05d}", number, tuple(places), sum(costs[place] for place in places)))
        first += size
    return made


def request_key(model_key: str, cell: Cell, contents: Sequence[str]) -> str:
    """What a response depends on: weights and numerics, settings, text, pictures and candidates."""
    parts = [model_key, cell.settings, list(contents)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
