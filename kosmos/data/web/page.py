"""A page on its way to a document: its main text, and where in the text its pictures stand.

Between steps it is a datatrove Document: `text` is the main text, and each picture is a Media whose `offset` is the
number of characters before it. Dropping a picture is dropping it from the list; the text needs no repair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Place = TypeVar("Place")

_SPACES = re.compile(r"[ \t]+")
_EDGES = re.compile(r" ?\n ?")
_NEWLINES = re.compile(r"\n{2,}")


def tidy(text: str) -> str:
    """One space between words, one newline between lines, none at the ends."""
    return _NEWLINES.sub("\n", _EDGES.sub("\n", _SPACES.sub(" ", text))).strip()


def interleave(text: str, places: Sequence[tuple[int, Place]]) -> tuple[list[str | None], list[Place | None]]:
    """`texts` and `images` aligned, one of both at each place, from a text and (offset, picture) in reading order."""
    texts: list[str | None] = []
    images: list[Place | None] = []

    def add_text(start: int, end: int) -> None:
        if piece := tidy(text[start:end]):
            texts.append(piece)
            images.append(None)

    start = 0
    for offset, picture in places:
        add_text(start, offset)
        texts.append(None)
        images.append(picture)
        start = offset
    add_text(start, len(text))
    return texts, images


def to_json(document: Any) -> dict[str, Any]:
    """What is kept of a page between two stages: everything but the HTML."""
    return {
        "id": document.id,
        "text": document.text,
        "pictures": [[media.offset, media.url] for media in document.media],
        "meta": {key: value for key, value in document.metadata.items() if key != "html"},
    }


def from_json(fields: Mapping[str, Any]) -> Any:
    """The datatrove Document of `to_json`."""
    from datatrove.data import Document

    media = [make_media(offset, url) for offset, url in fields["pictures"]]
    return Document(text=fields["text"], id=fields["id"], media=media, metadata=dict(fields["meta"]))


def make_media(offset: int, url: str) -> Any:
    """A picture that stands after `offset` characters of its page's text."""
    from datatrove.data import Media, MediaType

    return Media(id=url[:200], type=MediaType.IMAGE, url=url, offset=offset)
