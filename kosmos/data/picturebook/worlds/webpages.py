"""Small rendered pages to ask about: a coloured bar and two or three lines of a key and its value."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import COLORS, SIZE, is_plain, plain
from kosmos.data.picturebook.lettering import fitted_mask, fonts
from kosmos.data.picturebook.worlds.draw import one, some
from kosmos.data.picturebook.worlds.letters import paper_and_ink, write
from kosmos.document import Image
from kosmos.example import Example

# No word here may be one of ocr.TEST_WORDS, or training would draw it after all.
VALUES: dict[str, tuple[str, ...]] = {
    "price": tuple("123456789"),
    "name": ("tom", "ann", "bob", "eva", "max", "joe", "kim", "sam", "lea", "ben"),
    "day": ("mon", "tue", "wed", "thu", "fri", "sat"),
    "size": ("big", "little", "tall", "short", "tiny"),
    "room": tuple("123456789"),
    "food": ("pie", "soup", "cake", "fish", "bread", "corn"),
}
KEYS = tuple(VALUES)


def sample(book: object, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """A page of two or three fields; one is asked for. The test uses its own fonts. Needs no book."""
    keys = some(rng, KEYS, int(rng.integers(2, 4)))
    values = [one(rng, VALUES[key]) for key in keys]
    font = one(rng, fonts(split))
    canvas, ink = paper_and_ink(rng, split, size)
    bar = size // 8
    canvas[:bar] = plain(1, COLORS[one(rng, tuple(COLORS))])[0, 0]
    height = (size - bar) // len(keys)
    for row, (key, value) in enumerate(zip(keys, values)):
        mask = fitted_mask(f"{key} {value}", font, size - 4, min(height - 2, size // 4))
        jitter = 0 if is_plain(split) else int(rng.integers(-1, 2))
        write(canvas, mask, ink, 2, bar + row * height + (height - mask.shape[0]) // 2 + jitter)
    asked = int(rng.integers(len(keys)))
    fields = {"form": "question", "question": f"what is the {keys[asked]}?", "answer": values[asked]}
    return Example("webpages", fields, (Image(canvas),), meta={"page": list(zip(keys, values)), "font": font})
