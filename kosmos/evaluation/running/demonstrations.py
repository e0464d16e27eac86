"""Demonstrations: which examples stand before a question (paper section 4: few-shot learning).

They are drawn for each example by a counter-based generator from (seed, benchmark, example): whoever draws them, in
whatever order and on whatever rank, draws the same; the first of four are those of two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from kosmos.errors import DataError
from kosmos.example import Example


def draw_demonstrations(
    benchmark: str, example: Example, pool: Sequence[Example], shots: int, seed: int, same_split: bool
) -> list[Example]:
    """`shots` examples of `pool`, without repetition; never the example itself (`same_split`), nor one of its pictures.

    Raises DataError when the pool has too few.
    """
    if shots == 0:
        return []
    digest = hashlib.sha256(f"{seed}\0{benchmark}\0{example.id}".encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype=np.uint64)))
    pictures: set[str] | None = None
    chosen: list[Example] = []
    taken: set[int] = set()
    while len(chosen) < shots:
        if len(taken) == len(pool):
            raise DataError(
                f"benchmark {benchmark}, example {example.id}: {shots} demonstrations wanted, but only "
                f"{len(chosen)} of the {len(pool)} in the demonstration split may be used"
            )
        place = int(generator.integers(len(pool)))
        if place in taken:
            continue
        taken.add(place)
        candidate = pool[place]
        if same_split and candidate.id == example.id:
            continue
        if example.images and candidate.images:
            pictures = pictures or {image.sha256 for image in example.images}
            if any(image.sha256 in pictures for image in candidate.images):
                continue
        chosen.append(candidate)
    return chosen
