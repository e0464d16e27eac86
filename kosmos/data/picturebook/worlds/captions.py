"""Captions of scenes with one or two kinds of things: how many, or where."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE, background, is_plain, relight
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.vocabulary import Noun, held_out_count, nouns
from kosmos.data.picturebook.worlds.draw import grid, one, place, some, sprite
from kosmos.document import Image
from kosmos.example import Example


def sample(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """Three apples; two apples and a dog (upper row first); a dog left of, or above, a cat."""
    kind = one(rng, ("count", "groups", "relation"))
    canvas = background(rng, split, size)
    objects: list[tuple[str, int]] = []
    if kind == "count":
        noun, count = counted(book, rng, split, 2, 5)
        objects = [(noun.word, count)]
        scatter(book, canvas, [(noun, count)], rng, split)
        answer, unseen = noun.counted(count), held_out_count(noun, count)
    elif kind == "groups":
        first, upper = counted(book, rng, split, 1, 3)
        second, lower = counted(book, rng, split, 1 if upper > 1 else 2, 3)
        while second is first:
            second, lower = counted(book, rng, split, 1 if upper > 1 else 2, 3)
        for row, (noun, count) in enumerate(((first, upper), (second, lower))):
            width = size // count
            for column in range(count):
                cell = (column * width, row * (size // 2), width, size // 2)
                place(canvas, sprite(book, noun, rng, split, size // 3), rng, cell)
        objects = [(first.word, upper), (second.word, lower)]
        answer = f"{first.counted(upper)} and {second.counted(lower)}"
        unseen = held_out_count(first, upper) or held_out_count(second, lower)
    else:
        first, second = some(rng, nouns(book), 2)
        relation = one(rng, ("left of", "above"))
        cells = grid(size, 2, 1) if relation == "left of" else grid(size, 1, 2)
        for noun, cell in zip((first, second), cells):
            place(canvas, sprite(book, noun, rng, split, size // 2 - 2), rng, cell)
        objects = [(first.word, 1), (second.word, 1)]
        answer, unseen = f"{first.with_article} {relation} {second.with_article}", False
    fields = {"form": "caption", "prompt": "An image of", "answer": answer}
    meta = {"kind": kind, "objects": objects, "unseen_count": unseen}
    return Example("captions", fields, (Image(relight(canvas, rng, split)),), meta=meta)


def counted(book: PictureBook, rng: np.random.Generator, split: str, low: int, high: int) -> tuple[Noun, int]:
    """A noun and a count; training never gets a held-out pair."""
    while True:
        noun, count = one(rng, nouns(book)), int(rng.integers(low, high + 1))
        if split == "test" or not held_out_count(noun, count):
            return noun, count


def scatter(
    book: PictureBook,
    canvas: np.ndarray,
    groups: list[tuple[Noun, int]],
    rng: np.random.Generator,
    split: str,
) -> None:
    """Put all things into different cells of a 3 x 3 grid; nothing overlaps."""
    size = len(canvas)
    cells = some(rng, grid(size, 3, 3), sum(count for _, count in groups))
    things = [noun for noun, count in groups for _ in range(count)]
    for noun, cell in zip(things, cells):
        small = size // 3 - (0 if is_plain(split) else int(rng.integers(3)))
        place(canvas, sprite(book, noun, rng, split, small), rng, cell)
