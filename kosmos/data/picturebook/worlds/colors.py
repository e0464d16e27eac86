"""Colour questions: simple shapes, and real drawings printed in one colour."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import COLORS, SHAPES, SIZE, colored_shape, plain, relight, tinted
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.vocabulary import nouns
from kosmos.data.picturebook.worlds.draw import grid, one, place, some, sprite
from kosmos.document import Image
from kosmos.example import Example

NAMES = tuple(COLORS)


def held_out_color(name_index: int, color_index: int) -> bool:
    """Whether training never shows this thing in this colour (about one pair of six)."""
    return (name_index * 5 + color_index) % 6 == 0


def sample(book: PictureBook | None, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """One to three things of different colours; one, or the background, is asked for. Without a book: shapes only.

    In the test half of the things asked for have a colour that training never gave them.
    """
    count = int(rng.integers(1, 4))
    colors = some(rng, range(len(NAMES)), count + 1)
    names: list[str] = []
    indices: list[int] = []
    drawings: list[np.ndarray] = []
    room = size // (1 if count == 1 else 2)
    for position, color in enumerate(colors[:count]):
        wants_unseen = split == "test" and position == 0 and rng.random() < 0.5
        while True:
            index = int(rng.integers(len(SHAPES)))
            name = SHAPES[index]
            noun = None
            if book is not None and rng.random() < 0.4:
                noun = one(rng, nouns(book))
                index, name = len(SHAPES) + noun.index, noun.word
            if name not in names and held_out_color(index, color) == wants_unseen:
                break
        small = room - 2 - int(rng.integers(room // 6))
        rgb = COLORS[NAMES[color]]
        if noun is not None and book is not None:
            drawings.append(tinted(sprite(book, noun, rng, split, small), rgb))
        else:
            drawings.append(colored_shape(name, small, rgb))
        names.append(name)
        indices.append(index)
    asks_background = rng.random() < 0.15
    paper = COLORS[NAMES[colors[count]]] if asks_background else (255, 255, 255)
    canvas = plain(size, paper)
    cells = [(0, 0, size, size)] if count == 1 else some(rng, grid(size, 2, 2), count)
    for drawing, cell in zip(drawings, cells):
        place(canvas, drawing, rng, cell)
    thing = "background" if asks_background else names[0]
    answer = NAMES[colors[count]] if asks_background else NAMES[colors[0]]
    more = [(f"what color is the {name}?", NAMES[color]) for name, color in zip(names, colors) if name != thing]
    fields = {"form": "question", "question": f"what color is the {thing}?", "answer": answer, "more": more}
    unseen = not asks_background and held_out_color(indices[0], colors[0])
    meta = {
        "kind": "background" if asks_background else "thing",
        "objects": [(name, NAMES[color]) for name, color in zip(names, colors)],
        "unseen_pair": unseen,
    }
    return Example("colors", fields, (Image(relight(canvas, rng, split, 0.06)),), meta=meta)
