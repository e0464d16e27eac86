"""Handwritten digits: scikit-learn's 1,797 real 8 x 8 digits; the last 500 of the set are for the test."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image as PILImage

from kosmos.data.picturebook.canvas import SIZE, colored, is_plain, paste
from kosmos.data.picturebook.worlds.letters import paper_and_ink
from kosmos.document import Image
from kosmos.errors import DataError
from kosmos.example import Example

QUESTION = "what number is this?"
NUM_TRAIN = 1297
NUM_TEST = 500


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [1797, 8, 8] ink, int64 [1797] digits."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("handwritten digits come with scikit-learn: python -m pip install scikit-learn") from error
    data = load_digits()
    ink = np.minimum(data.images * 16, 255).astype(np.uint8)
    return ink, np.asarray(data.target, dtype=np.int64)


def sample(book: object, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """A random digit of the split. Needs no book."""
    first, end = (NUM_TRAIN, NUM_TRAIN + NUM_TEST) if split == "test" else (0, NUM_TRAIN)
    return draw(int(rng.integers(first, end)), rng, split, size)


def draw(index: int, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """One digit, enlarged; moved, turned and inked at random in training."""
    ink, targets = _digits()
    image = PILImage.fromarray(ink[index])
    scale = 9.0 / size
    a, b, shift_x, shift_y = scale, 0.0, 0.0, 0.0
    if not is_plain(split):
        numbers = rng.random(4) - 0.5
        a, b = scale * (1.0 + 0.4 * numbers[0]), scale * 0.5 * numbers[1]
        shift_x, shift_y = numbers[2] * 1.6, numbers[3] * 1.6
    middle = size / 2
    c, f = 4.0 + shift_x - (a + b) * middle, 4.0 + shift_y - (a - b) * middle
    moved = image.transform((size, size), PILImage.Transform.AFFINE, (a, b, c, -b, a, f), PILImage.Resampling.BILINEAR)
    canvas, color = paper_and_ink(rng, split, size)
    paste(canvas, colored(np.asarray(moved), color), 0, 0)
    fields = {"form": "question", "question": QUESTION, "answer": str(int(targets[index]))}
    return Example("digits", fields, (Image(canvas),), meta={"digit": index})
