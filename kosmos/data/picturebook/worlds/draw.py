"""Small random choices that the worlds share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from kosmos.data.picturebook.canvas import paste, vary
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.vocabulary import Noun

Item = TypeVar("Item")


def one(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    """One of the items, all equally likely."""
    return items[int(rng.integers(len(items)))]


def some(rng: np.random.Generator, items: Sequence[Item], count: int) -> list[Item]:
    """`count` different items in random order."""
    if count * 3 > len(items):
        return [items[i] for i in rng.permutation(len(items))[:count].tolist()]
    chosen: list[int] = []
    while len(chosen) < count:
        index = int(rng.integers(len(items)))
        if index not in chosen:
            chosen.append(index)
    return [items[i] for i in chosen]


def sprite(book: PictureBook, noun: Noun, rng: np.random.Generator, split: str, size: int) -> np.ndarray:
    """One drawing of a noun, [size, size, 4] premultiplied: any training artist's, or the held-out artist's."""
    artist = one(rng, book.artists_of(noun.concept, split))
    return vary(book.sprite(noun.concept, artist, size), rng, split)


def place(canvas: np.ndarray, drawn: np.ndarray, rng: np.random.Generator, cell: tuple[int, int, int, int]) -> None:
    """Paste a sprite at a random spot inside the cell (x, y, width, height)."""
    x, y, width, height = cell
    free_x, free_y = width - drawn.shape[1], height - drawn.shape[0]
    paste(canvas, drawn, x + int(rng.integers(free_x + 1)), y + int(rng.integers(free_y + 1)))


def grid(size: int, columns: int, rows: int) -> list[tuple[int, int, int, int]]:
    """The cells (x, y, width, height) of a canvas divided evenly, row by row."""
    width, height = size // columns, size // rows
    return [(column * width, row * height, width, height) for row in range(rows) for column in range(columns)]
