"""Language alone: going on with a sentence, and choosing between ends of one (paper: Table 13).

The demo's model has read definitions and examples of WordNet for some minutes. It writes like them, and knows little of
what they mean.

python examples/gallery/14_language.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, choose, main

import kosmos
from kosmos import Document, Engine

# (beginning, ends; the first one is right)
ENDS = (
    ("The man turned on the tap, so", ["water flowed from the spout.", "the toilet filled with horses."]),
    ("A violin is a musical", ["instrument.", "vegetable."]),
)


def show(engine: Engine, items: int) -> Iterator[Shown]:
    for beginning in ("A dog is", "A violin is", "To walk is to")[:items]:
        prompt = Document(beginning)
        yield Shown(prompt, " ".join(kosmos.generate(engine, prompt, max_new_tokens=24).text.split()))
    for beginning, ends in ENDS[:items]:
        prompt = Document(beginning)
        answer, shares = choose(engine, prompt, ends)
        yield Shown(prompt, answer, ends[0], shares)


if __name__ == "__main__":
    main(show)
