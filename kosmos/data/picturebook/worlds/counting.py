"""Counting: how many of one thing are there, with another thing beside it half of the time."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE, background, relight
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.vocabulary import NUMBERS, held_out_count, nouns
from kosmos.data.picturebook.worlds.captions import scatter
from kosmos.data.picturebook.worlds.draw import one
from kosmos.document import Image
from kosmos.example import Example

MOST = 5


def sample(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """Counts 1 to 5, equally likely. Half of the test's counts above 1 are (count, noun) pairs unseen in training."""
    everything = nouns(book)
    count = int(rng.integers(1, MOST + 1))
    unseen = split == "test" and count >= 2 and rng.random() < 0.5
    noun = one(rng, everything)
    while held_out_count(noun, count) != unseen:
        noun = one(rng, everything)
    groups = [(noun, count)]
    if rng.random() < 0.5:
        other = one(rng, everything)
        others = int(rng.integers(1, 3))
        while other is noun or held_out_count(other, others):
            other = one(rng, everything)
        groups.append((other, others))
    canvas = background(rng, split, size)
    scatter(book, canvas, groups, rng, split)
    asked, *more = [(f"how many {thing.plural} are there?", NUMBERS[n]) for thing, n in groups]
    fields = {"form": "question", "question": asked[0], "answer": asked[1], "more": more}
    meta = {"objects": [(thing.word, n) for thing, n in groups], "unseen_count": unseen}
    return Example("counting", fields, (Image(relight(canvas, rng, split)),), meta=meta)
