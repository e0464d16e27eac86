"""Dialogue of two turns: the second question says "it" or "its", so it cannot be answered without the first turn."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import COLORS, SIZE, plain, relight
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.vocabulary import nouns
from kosmos.data.picturebook.worlds.draw import one, place, some, sprite
from kosmos.document import Image
from kosmos.example import Example

SIDES = ("left", "right")
SECOND = {
    "background": "what color is its background?",
    "beside": "what is beside it?",
    "animal": "is it an animal?",
}
_KINDS = ("background", "background", "background", "beside", "animal")
# Drawings must stay visible on the panels, so these are lighter than the colours of things.
PANELS = {name: tuple((c + 255 * 2) // 3 for c in COLORS[name]) for name in ("red", "green", "blue", "purple")}
PANELS |= {"yellow": (255, 240, 120), "gray": (170, 170, 170)}


def sample(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """Two panels of different colours with one thing each; first turn: what or where; second turn: about that one."""
    kind = one(rng, _KINDS)
    animals = [noun for noun in nouns(book) if noun.category == "animals"]
    others = [noun for noun in nouns(book) if noun.category != "animals"]
    # An animal on one side only, so that the side matters in "is it an animal?".
    pair = some(rng, nouns(book), 2) if kind != "animal" else some(rng, [one(rng, animals), one(rng, others)], 2)
    colors = some(rng, tuple(PANELS), 2)
    canvas = plain(size)
    half = size // 2
    for side, (noun, color) in enumerate(zip(pair, colors)):
        canvas[:, side * half : (side + 1) * half] = PANELS[color]
        place(canvas, sprite(book, noun, rng, split, half - 2), rng, (side * half, 0, half, size))
    asked = int(rng.integers(2))
    if rng.random() < 0.5:
        first = [f"what is on the {SIDES[asked]}?", pair[asked].word]
    else:
        first = [f"where is the {pair[asked].word}?", SIDES[asked]]
    answer = {
        "background": colors[asked],
        "beside": pair[1 - asked].word,
        "animal": "yes" if pair[asked].category == "animals" else "no",
    }[kind]
    fields = {
        "form": "dialogue",
        "turns": [first, [SECOND[kind], answer]],
        "question": f"{first[0]} {first[1]} {SECOND[kind]}",
        "answer": answer,
    }
    meta = {"kind": kind, "objects": [(noun.word, color) for noun, color in zip(pair, colors)], "asked": SIDES[asked]}
    return Example("dialogue", fields, (Image(relight(canvas, rng, split, 0.06)),), meta=meta)
