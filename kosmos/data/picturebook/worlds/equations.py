"""Rendered equations: the sum or difference of two one-digit numbers. Some pairs of operands are kept for the test."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE, is_plain
from kosmos.data.picturebook.lettering import fitted_mask, fonts
from kosmos.data.picturebook.worlds.draw import one
from kosmos.data.picturebook.worlds.letters import paper_and_ink, write_somewhere
from kosmos.document import Image
from kosmos.example import Example

QUESTION = "what is the result?"


def held_out_operands(left: int, right: int) -> bool:
    """Whether training never shows this pair, in either order and under either sign (one pair of five).

    Every result of a sum and of a difference is left in training.
    """
    return (min(left, right) * 2 + max(left, right)) % 5 == 3


def sample(book: object, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """A picture of 4+5= or 9-4=; results are 0 to 18. Half of the test's operand pairs are unseen. Needs no book."""
    unseen = split == "test" and rng.random() < 0.5
    plus = bool(rng.random() < 0.5)
    while True:
        left, right = rng.integers(10, size=2).tolist()
        if held_out_operands(left, right) == unseen and (plus or left >= right):
            break
    result = left + right if plus else left - right
    text = f"{left}{'+' if plus else '-'}{right}="
    font = one(rng, fonts(split))
    canvas, ink = paper_and_ink(rng, split, size)
    room = size - 4 - (0 if is_plain(split) else 4 * int(rng.integers(2)))
    write_somewhere(canvas, fitted_mask(text, font, room, size // 2), ink, rng, split)
    fields = {"form": "question", "question": QUESTION, "answer": str(result)}
    return Example("equations", fields, (Image(canvas),), meta={"text": text, "font": font, "unseen_pair": unseen})
