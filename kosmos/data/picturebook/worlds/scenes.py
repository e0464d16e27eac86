"""Questions on scenes of two or three things: which are there, and where they are."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE, background, relight
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.vocabulary import Noun, nouns
from kosmos.data.picturebook.worlds.draw import grid, one, place, some, sprite
from kosmos.document import Image
from kosmos.example import Example

RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


def sample(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """Presence ("is there a dog?"), relation ("is the dog left of the cat?") or place ("what is below the dog?").

    Yes and no are equally likely.
    """
    kind = one(rng, ("presence", "relation", "place"))
    count = int(rng.integers(2, 4)) if kind == "presence" else 2
    things = some(rng, nouns(book), count + 1)
    absent, things = things[-1], things[:-1]
    cells = _cells(kind, count, rng)
    canvas = background(rng, split, size)
    half = size // 2
    for noun, (column, row) in zip(things, cells):
        place(canvas, sprite(book, noun, rng, split, half - 2), rng, (column * half, row * half, half, half))
    question, answer = _question(kind, things, cells, absent, rng)
    fields = {"form": "question", "question": question, "answer": answer}
    meta = {"kind": kind, "objects": [(noun.word, column, row) for noun, (column, row) in zip(things, cells)]}
    return Example("scenes", fields, (Image(relight(canvas, rng, split)),), meta=meta)


def _cells(kind: str, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(column, row) of each thing in a 2 x 2 grid; for relations two neighbours, side by side or one below."""
    if kind == "presence":
        return [(x, y) for x, y, _, _ in some(rng, grid(2, 2, 2), count)]
    free = int(rng.integers(2))
    pair = [(0, free), (1, free)] if rng.random() < 0.5 else [(free, 0), (free, 1)]
    return pair if rng.random() < 0.5 else pair[::-1]


def _question(
    kind: str, things: list[Noun], cells: list[tuple[int, int]], absent: Noun, rng: np.random.Generator
) -> tuple[str, str]:
    yes = rng.random() < 0.5
    if kind == "presence":
        asked = one(rng, things) if yes else absent
        return f"is there {asked.with_article}?", "yes" if yes else "no"
    first, second = things
    step = (cells[0][0] - cells[1][0], cells[0][1] - cells[1][1])
    true = next(name for name, offset in RELATIONS.items() if offset == step)
    if kind == "place":
        return f"what is {true} the {second.word}?", first.word
    opposite = next(name for name, offset in RELATIONS.items() if offset == (-step[0], -step[1]))
    return f"is the {first.word} {true if yes else opposite} the {second.word}?", "yes" if yes else "no"


def sample_vqa(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """Visual questions of all kinds: half on colours, half on scenes."""
    from kosmos.data.picturebook.worlds import colors

    world = colors.sample if rng.random() < 0.5 else sample
    return world(book, rng, split, size)
