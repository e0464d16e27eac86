"""Naming: one picture, its name. The target is the concept's label in lower case."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE, affine, background, paste, relight
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
    """One drawing: plain and white for the test, moved and relit on varied backgrounds in training."""
    label = book.labels[concept]
    canvas = background(rng, split, size)
    if split == "test":
        paste(canvas, book.sprite(concept, artist, size), 0, 0)
    else:
        paste(canvas, affine(book, concept, artist, rng, may_flip(label), size), 0, 0)
        canvas = relight(canvas, rng, split)
    fields = {"form": "caption", "prompt": "An image of", "answer": label}
    return Example("pictures", fields, (Image(canvas),), cluster=label, meta={"artist": artist, "concept": concept})


def training_pairs(book: PictureBook) -> np.ndarray:
    """int64 [2715, 2]: (concept, index of the training artist) of every training picture."""
    return np.array(
        [(c, a) for a, artist in enumerate(book.training_artists) for c in book.indices[artist].tolist()],
        dtype=np.int64,
    )
