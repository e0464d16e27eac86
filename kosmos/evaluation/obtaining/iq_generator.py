"""Stand-ins for the unreleased IQ test: drawn matrices with one solution, in the format that `iq50` reads.

Two attributes of the panels change, each by a rule of its own. The six candidates are all
combinations of two values of one changing attribute and three of the other, each value as often as its fellows, so
that the candidates alone say nothing. Whether an item has one solution is checked by a search through all rules that
fit what is given, which knows nothing of how the item was made.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from kosmos.data.picturebook.worlds.raven import ATTRIBUTES, Panel, panel_pixels
from kosmos.errors import UsageError
from kosmos.evaluation.tasks.iq50 import FILE, FORMAT, NUM_CANDIDATES

GIVEN = (3, 4, 8)
PANEL_SIZE = 224
NOTE = (
    "Stand-ins drawn by `kosmos eval iq make`: not the paper's 50 items, which were never released, and easier than "
    "theirs. A score here says nothing of the paper's figures."
)
Value = str | int
NAMES = tuple(ATTRIBUTES)


@dataclass(frozen=True)
class Rule:
    """`pattern`: which of its values an attribute has on each panel, in reading order, the missing one at the end."""

    name: str
    pattern: tuple[int, ...]

    @property
    def num_values(self) -> int:
        return max(self.pattern) + 1

    def missing(self, given: Sequence[Value]) -> Value | None:
        """The value of the missing panel, when the rule fits the given ones: equal where it says so, else different."""
        values: dict[int, Value] = {}
        for number, value in zip(self.pattern, given):
            if values.setdefault(number, value) != value:
                return None
        if len(set(values.values())) < len(values):
            return None
        return values.get(self.pattern[-1])


def _grid(side: int, value: Callable[[int, int], int]) -> tuple[int, ...]:
    return tuple(value(row, column) for row in range(side) for column in range(side))


# Three given: a square of four. Four given: a row of five. Eight given: a square of nine.
RULES: Mapping[int, tuple[Rule, ...]] = {
    3: (Rule("by row", _grid(2, lambda row, column: row)), Rule("by column", _grid(2, lambda row, column: column))),
    4: (Rule("two in turn", (0, 1, 0, 1, 0)), Rule("three in turn", (0, 1, 2, 0, 1))),
    8: (
        Rule("by row", _grid(3, lambda row, column: row)),
        Rule("by column", _grid(3, lambda row, column: column)),
        Rule("by falling diagonal", _grid(3, lambda row, column: (column - row) % 3)),
        Rule("by rising diagonal", _grid(3, lambda row, column: (column + row) % 3)),
    ),
}


@dataclass(frozen=True)
class IqItem:
    """Panels as attributes with values. `answer` is the index of the right candidate; `rules`: attribute -> rule."""

    given: tuple[Panel, ...]
    candidates: tuple[Panel, ...]
    answer: int
    rules: Mapping[str, str]


def make_items(count: int, seed: int = 0) -> list[IqItem]:
    """`count` items with 3, 4 and 8 panels given in turn. Item n is the same whatever `count`."""
    return [make_item(np.random.default_rng([seed, number]), GIVEN[number % len(GIVEN)]) for number in range(count)]


def make_item(rng: np.random.Generator, num_given: int) -> IqItem:
    """One item with a unique solution. Raises UsageError unless 3, 4 or 8 are given."""
    if num_given not in RULES:
        raise UsageError(f"{num_given} panels given: there are items with 3, 4 and 8")
    while True:
        item = _draw(rng, num_given)
        if solutions(item.given, item.candidates) == [item.answer]:
            return item


def solutions(given: Sequence[Panel], candidates: Sequence[Panel]) -> list[int]:
    """Candidates that go on with the given panels by some rule for each attribute (one that stays is a rule too)."""
    rules = (Rule("constant", (0,) * (len(given) + 1)), *RULES[len(given)])
    possible: dict[str, set[Value | None]] = {}
    for name in NAMES:
        possible[name] = {rule.missing([panel[name] for panel in given]) for rule in rules} - {None}
    return [
        index for index, candidate in enumerate(candidates) if all(candidate[name] in possible[name] for name in NAMES)
    ]


def _draw(rng: np.random.Generator, num_given: int) -> IqItem:
    names = [NAMES[place] for place in rng.permutation(len(NAMES))[:2]]
    rules = [RULES[num_given][place] for place in rng.permutation(len(RULES[num_given]))[:2]]
    base: Panel = {name: _some(rng, ATTRIBUTES[name], 1)[0] for name in NAMES}
    panels = [dict(base) for _ in range(num_given + 1)]
    shown: dict[str, list[Value]] = {}
    for name, rule in zip(names, rules):
        shown[name] = _some(rng, ATTRIBUTES[name], rule.num_values)
        for panel, number in zip(panels, rule.pattern):
            panel[name] = shown[name][number]
    *given, right = panels
    # Which of the two attributes gets three values is chance, so the shape of the set says nothing either.
    few, many = names if rng.random() < 0.5 else names[::-1]
    choices = {
        few: [right[few], *_wrong(rng, few, right, shown, 1)],
        many: [right[many], *_wrong(rng, many, right, shown, 2)],
    }
    candidates = [{**right, few: one, many: other} for one, other in itertools.product(choices[few], choices[many])]
    order = rng.permutation(NUM_CANDIDATES).tolist()
    return IqItem(
        tuple(given),
        tuple(candidates[place] for place in order),
        order.index(0),
        {name: rule.name for name, rule in zip(names, rules)},
    )


def _wrong(
    rng: np.random.Generator, name: str, right: Panel, shown: Mapping[str, Sequence[Value]], count: int
) -> list[Value]:
    """Wrong values: first one that the given panels show, then one that they do not."""
    seen = [value for value in shown[name] if value != right[name]]
    new = [value for value in ATTRIBUTES[name] if value not in shown[name]]
    return [_some(rng, seen, 1)[0], *(_some(rng, new or seen, 1) if count > 1 else [])]


def _some(rng: np.random.Generator, values: Sequence[Value], count: int) -> list[Value]:
    """`count` different values."""
    return [values[place] for place in rng.permutation(len(values))[:count].tolist()]


def write_items(folder: Path, items: Sequence[IqItem], seed: int, size: int = PANEL_SIZE) -> Path:
    """Write `iq.json` and one picture per panel; returns the path of `iq.json`."""
    entries = []
    for number, item in enumerate(items, start=1):
        name = f"{number:0{max(3, len(str(len(items))))}d}"
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        given = [_save(place / f"given-{n}.png", panel, size) for n, panel in enumerate(item.given, start=1)]
        candidates = [
            _save(place / f"candidate-{n}.png", panel, size) for n, panel in enumerate(item.candidates, start=1)
        ]
        entries.append(
            {
                "id": name,
                "given": [f"{name}/{file}" for file in given],
                "candidates": [f"{name}/{file}" for file in candidates],
                "answer": item.answer + 1,
                "rules": dict(item.rules),
            }
        )
    path = folder / FILE
    table = {"format": FORMAT, "stand_in": True, "note": NOTE, "seed": seed, "items": entries}
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return path


def _save(path: Path, panel: Panel, size: int) -> str:
    shape, color, count, extent = (panel[name] for name in ("shape", "color", "count", "size"))
    pixels = panel_pixels(str(shape), str(color), int(count), str(extent), size)
    PIL.Image.fromarray(pixels).save(path)
    return path.name
