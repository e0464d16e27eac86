"""Where a page's pictures stand in its extracted main text.

Each run of the page's own text is looked for in the main text, near where the last one ended. A picture then stands
after the last run found before it, if little text that was dropped lies between: pictures among menus stay out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kosmos.data.web.reading_order import PictureLink, TextRun

NEARBY_CHARACTERS = 200  # letters of dropped text that may lie between a picture and the main text
_SHORT_RUN = 32  # letters; a shorter run must follow at once, lest a menu's "File" jump to the end of the text
_SHORT_WINDOW = 64
_LONG_WINDOW = 5_000


@dataclass(frozen=True)
class PlacedPicture:
    """A picture and the number of characters of the main text before it."""

    offset: int
    link: PictureLink


class _Letters:
    """The letters and digits of a text, lower case, and where each stands in it."""

    def __init__(self, text: str) -> None:
        kept = [(character, index) for index, character in enumerate(text) if character.isalnum()]
        self.text = letters(text)
        self.ends = [index + 1 for _, index in kept]


def letters(text: str) -> str:
    """Letters and digits only; lower-casing must not change their number."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text if c.isalnum())


def place_pictures(main_text: str, items: Iterable[TextRun | PictureLink]) -> tuple[list[PlacedPicture], int]:
    """Pictures with their offsets in reading order, and how many lie too far from the main text."""
    main = _Letters(main_text)
    cursor = 0
    dropped = NEARBY_CHARACTERS + 1  # before the first run that is found, nothing of the main text is near
    waiting: list[tuple[PictureLink, int]] = []  # not near what is before them, with the dropped text since then
    placed: list[PlacedPicture] = []
    far = 0
    for item in items:
        if isinstance(item, PictureLink):
            if dropped <= NEARBY_CHARACTERS:
                placed.append(PlacedPicture(_offset(main, cursor, main_text), item))
            else:
                waiting.append((item, dropped))
            continue
        run = letters(item.text)
        if not run:
            continue
        found, end = _find(main.text, run, cursor)
        if found < 0:
            dropped += len(run)
            continue
        for link, before in waiting:
            if dropped - before <= NEARBY_CHARACTERS:
                placed.append(PlacedPicture(_offset(main, found, main_text), link))
            else:
                far += 1
        waiting.clear()
        cursor, dropped = end, 0
    return placed, far + len(waiting)


def _find(text: str, run: str, cursor: int) -> tuple[int, int]:
    """Start and end of the run in the text from the cursor on, (-1, -1) when it is not there.

    Of a long run its beginning is enough, or its end: extractors leave out words in the middle.
    """
    if len(run) < _SHORT_RUN:
        found = text.find(run, cursor, cursor + _SHORT_WINDOW + len(run))
        return found, found + len(run) if found >= 0 else -1
    stop = cursor + _LONG_WINDOW + len(run)
    first = text.find(run[:_SHORT_RUN], cursor, stop)
    last = text.find(run[-_SHORT_RUN:], cursor if first < 0 else first, stop if first < 0 else first + len(run))
    if last >= 0:
        return (first if first >= 0 else last), last + _SHORT_RUN
    return first, first + _SHORT_RUN if first >= 0 else -1


def _offset(main: _Letters, letter: int, text: str) -> int:
    """Characters of the text up to and with its first `letter` letters, and the marks that end their line."""
    if letter == 0:
        return 0
    end = main.ends[letter - 1]
    while end < len(text) and not text[end].isalnum() and not text[end].isspace():
        end += 1
    return end
