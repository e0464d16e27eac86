"""Rendered opinions, after Rendered SST-2: a short sentence on three lines, positive or negative."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE
from kosmos.data.picturebook.lettering import fitted_mask, fonts
from kosmos.data.picturebook.worlds.draw import one
from kosmos.data.picturebook.worlds.letters import paper_and_ink, write
from kosmos.document import Image
from kosmos.example import Example

QUESTION = "what is the sentiment of the opinion?"
# No word here may be one of ocr.TEST_WORDS, or training would draw it after all.
THINGS = ("film", "book", "song", "food", "music", "play", "story", "hotel", "park", "trip")
VERBS = ("is so", "is", "was", "was very", "is very", "looks")
ADJECTIVES = {
    "positive": ("happy", "great", "nice", "fine", "sweet", "lovely", "funny", "superb", "fresh", "smart"),
    "negative": ("bad", "awful", "dull", "boring", "poor", "sad", "ugly", "weak", "silly", "stale"),
}


def sample(book: object, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """Both sentiments are equally likely. The test uses its own fonts. Needs no book."""
    answer = "positive" if rng.random() < 0.5 else "negative"
    lines = (f"the {one(rng, THINGS)}", one(rng, VERBS), one(rng, ADJECTIVES[answer]))
    font = one(rng, fonts(split))
    canvas, ink = paper_and_ink(rng, split, size)
    height = size // 3
    for row, line in enumerate(lines):
        mask = fitted_mask(line, font, size - 4, height - 3)
        write(canvas, mask, ink, 2, row * height + (height - mask.shape[0]) // 2)
    fields = {"form": "question", "question": QUESTION, "answer": answer}
    return Example("sentiment", fields, (Image(canvas),), meta={"text": " ".join(lines), "font": font})
