"""The odd one out among three or four pictures, with the reason."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE, background, relight
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.vocabulary import CATEGORIES, nouns
from kosmos.data.picturebook.worlds.draw import grid, one, place, some, sprite
from kosmos.document import Image
from kosmos.example import Example

QUESTION = "which is the odd one out and why?"


def sample(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """All but one are of one category: "the dog, because the others are food"."""
    common, other = some(rng, CATEGORIES, 2)
    count = int(rng.integers(3, 5))
    odd = one(rng, [noun for noun in nouns(book) if noun.category == other])
    same = some(rng, [noun for noun in nouns(book) if noun.category == common], count - 1)
    canvas = background(rng, split, size)
    for noun, cell in zip((odd, *same), some(rng, grid(size, 2, 2), count)):
        place(canvas, sprite(book, noun, rng, split, size // 2 - 2), rng, cell)
    answer = f"the {odd.word}, because the others are {common}"
    fields = {"form": "question", "question": QUESTION, "answer": answer}
    meta = {"odd": odd.word, "odd_category": other, "common": common, "same": [noun.word for noun in same]}
    return Example("explanation", fields, (Image(relight(canvas, rng, split)),), meta=meta)
