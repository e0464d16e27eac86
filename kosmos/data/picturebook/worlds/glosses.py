"""Plain text: definitions and example sentences of WordNet, several related ones to a document."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.wordnet import load_wordnet
from kosmos.example import Example

SYNSETS = (3, 7)


def held_out_synset(index: int) -> bool:
    """Whether training never shows this synset's text: every 50th run of 20 neighbours."""
    return (index // 20) % 50 == 7


def sample(book: object, rng: np.random.Generator, split: str, size: int = 0) -> Example:
    """Three to seven neighbouring synsets, a line each and one for each example."""
    lines = load_wordnet().lines
    count = int(rng.integers(SYNSETS[0], SYNSETS[1] + 1))
    while True:
        start = int(rng.integers(len(lines) - count))
        # All of one side: a run that touches both is drawn again.
        if all(held_out_synset(start + i) == (split == "test") for i in (0, count - 1)):
            break
    text = "\n".join(line for i in range(start, start + count) for line in lines[i])
    return Example("glosses", {"form": "text", "text": text}, meta={"first": start, "count": count})
