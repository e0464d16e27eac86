"""Rendered made-up words: letters that must be read one by one, as no list of words has them."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE
from kosmos.data.picturebook.worlds import ocr
from kosmos.data.picturebook.worlds.draw import one
from kosmos.example import Example

_PATTERNS = ("cvc", "cvcv", "cvcc", "ccvc", "vcvc", "cvcvc", "ccvcc", "cvccvc")
_LETTERS = {"c": "bcdfghjklmnprstvwxz", "v": "aeiouy"}


def sample(book: object, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """One made-up word of 3 to 6 letters, never one that the test of real words keeps for itself."""
    while True:
        word = "".join(one(rng, _LETTERS[kind]) for kind in one(rng, _PATTERNS))
        if word not in ocr.TEST_WORDS:
            break
    return ocr.draw("strings", word, rng, split, size)
