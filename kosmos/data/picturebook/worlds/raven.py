"""Raven's progressive matrices: three, four or eight given pictures, and which of six candidates comes next.

Two attributes of a panel change, each by a rule. The six candidates are all combinations of two values of one
attribute and three of the other, so every value is equally frequent among them and the candidates alone say nothing.
Layouts: 3 given is a 2 x 2 matrix, 4 a sequence, 8 a 3 x 3 matrix, always read row by row with the last one missing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kosmos.data.picturebook.canvas import COLORS, SIZE, colored, paste, plain, shape_mask
from kosmos.data.picturebook.worlds.draw import one, some
from kosmos.document import Image
from kosmos.example import Example

GIVEN = (3, 4, 8)
ATTRIBUTES: dict[str, tuple[str | int, ...]] = {
    "shape": ("circle", "square", "triangle", "cross", "ring"),
    "color": ("red", "green", "blue", "yellow", "black", "purple"),
    "count": (1, 2, 3, 4),
    "size": ("tiny", "small", "medium", "large"),
}
NAMES = tuple(ATTRIBUTES)
Panel = dict[str, str | int]


def sample(book: object, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """An item with three, four or eight given pictures. Needs no book."""
    return draw(rng, split, one(rng, GIVEN), size)


def draw(rng: np.random.Generator, split: str, given: int, size: int = SIZE) -> Example:
    """images: the `given` ones, then the six candidates. fields: `given`, `gold`, and for training `shown`, the
    candidate a training document shows: the right one half of the time."""
    first, second = some(rng, NAMES, 2)
    panels = [{name: one(rng, ATTRIBUTES[name]) for name in NAMES}] * (given + 1)
    columns = _values(rng, first, given, by_column=True)
    rows = _values(rng, second, given, by_column=False)
    panels = [{**panel, first: a, second: b} for panel, a, b in zip(panels, columns, rows)]
    right = panels[-1]
    # Which of the two attributes gets three candidate values is chance, so the shape of the set says nothing either.
    two, three = (first, second) if rng.random() < 0.5 else (second, first)
    seen = {name: [panel[name] for panel in panels] for name in (two, three)}
    two_values = _alternatives(rng, two, right[two], seen[two], 2)
    three_values = _alternatives(rng, three, right[three], seen[three], 3)
    candidates: list[Panel] = [{**right, two: a, three: b} for a in two_values for b in three_values]
    candidates = [candidates[i] for i in rng.permutation(6).tolist()]
    gold = candidates.index(right)
    wrong = [i for i in range(6) if i != gold]
    shown = gold if rng.random() < 0.5 else one(rng, wrong)
    images = tuple(Image(panel_pixels(*_key(panel), size)) for panel in (*panels[:-1], *candidates))
    fields = {"form": "raven", "given": given, "gold": gold, "shown": shown}
    meta = {"attributes": [first, second], "panels": panels[:-1], "candidates": candidates}
    return Example("raven", fields, images, meta=meta)


def _values(rng: np.random.Generator, name: str, given: int, by_column: bool) -> list[str | int]:
    """The attribute's values in reading order, the missing one last."""
    values = ATTRIBUTES[name]
    if given == 3:
        a, b = some(rng, values, 2)
        return [a, b, a, b] if by_column else [a, a, b, b]
    if given == 8:
        line = some(rng, values, 3)
        return line * 3 if by_column else [value for value in line for _ in range(3)]
    # A sequence of five: two values in turn, or three; so the missing panel is never a copy of a given one.
    if by_column:
        a, b = some(rng, values, 2)
        return [a, b, a, b, a]
    a, b, c = some(rng, values, 3)
    return [a, b, c, a, b]


def _alternatives(
    rng: np.random.Generator, name: str, right: str | int, seen: list[str | int], count: int
) -> list[str | int]:
    """`count` values with the right one among them: then one from the given pictures, then one that is new."""
    shown = [v for v in dict.fromkeys(seen) if v != right]
    new = [v for v in ATTRIBUTES[name] if v != right and v not in shown]
    return [right, one(rng, shown), one(rng, new)][:count]


def _key(panel: Panel) -> tuple[str, str, int, str]:
    return str(panel["shape"]), str(panel["color"]), int(panel["count"]), str(panel["size"])


@lru_cache(maxsize=2000)
def panel_pixels(shape: str, color: str, count: int, extent: str, size: int = SIZE) -> np.ndarray:
    """uint8 [size, size, 3]: `count` equal shapes. Kept and shared: read-only."""
    canvas = plain(size)
    cell = size if count == 1 else size // 2
    side = int(cell * {"tiny": 0.32, "small": 0.52, "medium": 0.73, "large": 0.95}[extent])
    drawn = colored(shape_mask(shape, side), COLORS[color])
    spots = {1: [(0, 0)], 2: [(0, 0), (1, 1)], 3: [(0, 0), (1, 0), (0, 1)], 4: [(0, 0), (1, 0), (0, 1), (1, 1)]}
    for column, row in spots[count]:
        paste(canvas, drawn, column * cell + (cell - side) // 2, row * cell + (cell - side) // 2)
    canvas.flags.writeable = False
    return canvas
