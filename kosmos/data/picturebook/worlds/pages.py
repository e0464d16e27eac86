"""Interleaved pages of a picture dictionary: pictures with their names and WordNet's definitions."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache

import numpy as np

from kosmos.data.picturebook.canvas import SIZE
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.wordnet import WordNet, load_wordnet
from kosmos.data.picturebook.worlds import pictures
from kosmos.data.picturebook.worlds.draw import one, some
from kosmos.example import Example

MOST_PICTURES = 4


def sample(book: PictureBook, rng: np.random.Generator, split: str, size: int = SIZE) -> Example:
    """A page of two to four entries, mostly of one group of concepts."""
    defined = _defined(book, load_wordnet())
    group = one(rng, tuple(defined))
    entries, images = [], []
    for concept, definition in some(rng, defined[group], int(rng.integers(2, MOST_PICTURES + 1))):
        drawn = pictures.draw(book, concept, one(rng, book.artists_of(concept, split)), rng, split, size)
        images.append(drawn.images[0])
        entries.append([book.labels[concept], definition])
    return Example("pages", {"form": "page", "title": group, "entries": entries}, tuple(images))


@cache
def _defined(book: PictureBook, wordnet: WordNet) -> dict[str, list[tuple[int, str]]]:
    """group -> (concept, definition) of all concepts that WordNet defines."""
    found: dict[str, list[tuple[int, str]]] = {}
    for index, concept in enumerate(book.concepts):
        if definition := wordnet.define(concept.label, concept.group):
            found.setdefault(concept.group, []).append((index, definition))
    return found


def entry_text(word: str, definition: str) -> str:
    return f"{word}: {definition}"


def page_html(example: Example, sources: Sequence[str]) -> str:
    """The same page as a web page; `sources` are the addresses of its pictures. Its text lines are `entry_text`."""
    title = html.escape(str(example.fields["title"]))
    parts = ["<!DOCTYPE html>", '<html lang="en">', f'<head><meta charset="utf-8"><title>{title}</title></head>']
    parts += ["<body>", "<nav><a href='/'>home</a></nav>", "<main>", "<article>"]
    for (word, definition), source in zip(example.fields["entries"], sources, strict=True):
        parts.append(f'<img src="{html.escape(source)}" alt="" width="{SIZE}" height="{SIZE}">')
        parts.append(f"<p>{html.escape(entry_text(word, definition))}</p>")
    parts += ["</article>", "</main>", "<footer>a picture dictionary</footer>", "</body>", "</html>"]
    return "\n".join(parts) + "\n"
