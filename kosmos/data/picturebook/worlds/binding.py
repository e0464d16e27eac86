"""Binding made-up words to pictures in context: what a word means is told by the demonstrations alone.

Two concepts get a made-up word each; k demonstrations show them, half each, in random order; the query is another
drawing of one of them. With k = 0 nothing tells the word. In the shuffled variant each demonstration's word is dealt
at random, half each, so that the demonstrations tell the two words and nothing else.

Pictures are moved, mirrored and relit in the test too: what counts is the concept, and plain drawings of one concept by
two vendors are so alike that their nearest pixels alone would tell.
"""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import SIZE
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.vocabulary import MADE_UP_WORDS
from kosmos.data.picturebook.worlds.draw import one, some
from kosmos.data.picturebook.worlds.pictures import pixels
from kosmos.document import Image
from kosmos.example import Example

SHOTS = (0, 2, 4, 8)


def held_out_pairing(concept: int, word: int) -> bool:
    """Whether this word never means this concept in training (half of all pairings)."""
    return (concept * 7 + word * 3) % 2 == 0


def sample(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """Training: 2, 4 or 8 demonstrations of two concepts (three or four now and then)."""
    ways = 2 if split == "test" or rng.random() < 0.7 else int(rng.integers(3, 5))
    shots = {2: one(rng, (2, 4, 8)), 3: 3, 4: 4}[ways]
    return draw(book, rng, split, shots, ways=ways, size=size)


def draw(
    book: PictureBook,
    rng: np.random.Generator,
    split: str,
    shots: int,
    shuffled: bool = False,
    ways: int = 2,
    size: int = SIZE,
) -> Example:
    """One item with `shots` demonstrations; images are these in order, then the query."""
    concepts = _concepts(book, rng, ways)
    words = _words(rng, split, concepts)
    order = [way for way in range(ways) for _ in range(shots // ways)]
    order = [order[i] for i in rng.permutation(len(order)).tolist()]
    asked = int(rng.integers(ways))
    query_artist = one(rng, book.artists_of(concepts[asked], split))
    images = []
    for way in order:
        concept = concepts[way]
        # Demonstrations come from the training artists always: the query is another artist's drawing.
        artists = [a for a in book.artists_of(concept, "train") if way != asked or a != query_artist]
        images.append(Image(pixels(book, concept, one(rng, artists), rng, "train", size)))
    images.append(Image(pixels(book, concepts[asked], query_artist, rng, "train", size)))
    labels = [MADE_UP_WORDS[words[way]] for way in order]
    if shuffled:
        labels = [labels[i] for i in rng.permutation(len(labels)).tolist()]
    fields = {"form": "binding", "demonstrations": labels, "question": "", "answer": MADE_UP_WORDS[words[asked]]}
    meta = {
        "concepts": [book.labels[concept] for concept in concepts],
        "words": [MADE_UP_WORDS[word] for word in words],
        "order": order,
        "asked": asked,
        "query_artist": query_artist,
        "shuffled": shuffled,
    }
    return Example("binding", fields, tuple(images), meta=meta)


def _concepts(book: PictureBook, rng: np.random.Generator, ways: int) -> list[int]:
    """Different concepts of different kinds: two moon phases would make a riddle of their own."""
    while True:
        concepts = some(rng, range(len(book)), ways)
        if len({(book.concepts[c].group, book.concepts[c].subgroup) for c in concepts}) == ways:
            return concepts


def _words(rng: np.random.Generator, split: str, concepts: list[int]) -> list[int]:
    """Different words, each pairing allowed in this split."""
    words: list[int] = []
    for concept in concepts:
        while True:
            word = int(rng.integers(len(MADE_UP_WORDS)))
            if word not in words and held_out_pairing(concept, word) == (split == "test"):
                words.append(word)
                break
    return words
