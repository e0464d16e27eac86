"""Zero-shot classification: the name of one drawing, free and held to a list of names (paper: Table 10).

The names are those of all 853 concepts; the held one is found by as many beams as the paper used, two.

python examples/gallery/11_classification.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, asked, held_out, main

import kosmos
from kosmos import Engine
from kosmos.data.picturebook.heldout import shared_book


def show(engine: Engine, items: int) -> Iterator[Shown]:
    names = [f" {label}" for label in shared_book().labels]
    for example in held_out(engine, "naming", items):
        prompt, truth = asked(example)
        free = kosmos.generate(engine, prompt, max_new_tokens=16).text.strip()
        held = kosmos.generate(engine, prompt, names=names, num_beams=2, max_new_tokens=32).text.strip()
        yield Shown(prompt, held, truth, note=f"not held to the names: {free}")


if __name__ == "__main__":
    main(show)
