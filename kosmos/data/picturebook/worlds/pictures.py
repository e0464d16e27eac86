"""Naming: one picture, its name. The target is the concept's label in lower case."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE, ground, is_plain, moved, paste, plain, relight
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.worlds.draw import one
from kosmos.document import Image
from kosmos.example import Example

# Mirroring would make these wrong: clock faces, moon phases, and what has left or right in its name.
_HANDED = ("o’clock", "-thirty", "quarter moon", "crescent", "gibbous", "left", "right")


def may_flip(label: str) -> bool:
    return not any(word in label for word in _HANDED)


def sample(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """A random concept, then a random artist of the split."""
    concept = int(rng.integers(len(book)))
    return draw(book, concept, one(rng, book.artists_of(concept, split)), rng, split, size)


def draw(
    book: PictureBook, concept: int, artist: str, rng: np.random.Generator, split: str, size: int = SIZE
) -> Example:
    """One drawing: plain and white in the test, moved and relit on varied backgrounds in training."""
    label = book.labels[concept]
    image = Image(pixels(book, concept, artist, rng, split, size))
    fields = {"form": "caption", "prompt": "An image of", "answer": label}
    return Example("pictures", fields, (image,), cluster=label, meta={"artist": artist, "concept": concept})


def pixels(
    book: PictureBook, concept: int, artist: str, rng: np.random.Generator, split: str, size: int = SIZE
) -> np.ndarray:
    """The canvas of `draw`: uint8 [size, size, 3]."""
    if is_plain(split):
        canvas = plain(size)
        paste(canvas, book.sprite(concept, artist, size), 0, 0)
        return canvas
    flip = may_flip(book.labels[concept])
    return relight(moved(book, concept, artist, rng, flip, ground(rng, split), size), rng, split)


def training_pairs(book: PictureBook) -> np.ndarray:
    """int64 [2715, 2]: (concept, index of the training artist) of every training picture."""
    return np.array(
        [(c, a) for a, artist in enumerate(book.training_artists) for c in book.indices[artist].tolist()],
        dtype=np.int64,
    )
