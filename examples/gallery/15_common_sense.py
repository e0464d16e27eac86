"""Cross-modal transfer: colours and sizes of things, asked without any picture (paper: Tables 15 and 16).

What was learned by looking should help when only words are there. The questions are the paper's. The demo's model has
hardly seen such sentences; each size is asked in both orders, because a model that always says yes is right in one.

python examples/gallery/15_common_sense.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, choose, main

from kosmos import Document, Engine
from kosmos.evaluation.tasks.colors import COLORS

OBJECTS = (("a banana", "yellow"), ("a tomato", "red"), ("a frog", "green"))
# The larger one first.
SIZES = (("a whale", "a mouse"), ("a house", "a key"), ("a bus", "a banana"))


def show(engine: Engine, items: int) -> Iterator[Shown]:
    for thing, color in OBJECTS[:items]:
        prompt = Document(f"The color of {thing} is?")
        answer, shares = choose(engine, prompt, COLORS)
        yield Shown(prompt, answer, color, shares)
    for larger, smaller in SIZES[:items]:
        for one, other, truth in ((larger, smaller, "Yes"), (smaller, larger, "No")):
            prompt = Document(f"Question: Is {one} larger than {other}? Answer:")
            answer, shares = choose(engine, prompt, ["Yes", "No"])
            yield Shown(prompt, answer, truth, shares)


if __name__ == "__main__":
    main(show)
