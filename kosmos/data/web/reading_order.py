"""A page's elements in reading order: runs of text, and pictures.

Text extractors drop figures they take for furniture; so pictures are read from the page itself and then placed into
the extracted text by what stands around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Elements that do not break a line of text.
_INLINE_NAMES = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark picture q s samp "
    "small source span strike strong sub sup time tt u var wbr"
)
_INLINE = frozenset(_INLINE_NAMES.split())
# Elements whose content is no text of the page. A noscript repeats pictures that scripts load.
_SKIPPED_NAMES = "script style noscript template head svg math object iframe canvas audio video"
_SKIPPED = frozenset(_SKIPPED_NAMES.split())
# Elements that hold a site's furniture, not the page's content.
_FURNITURE_NAMES = "nav footer aside form button select"
_FURNITURE = frozenset(_FURNITURE_NAMES.split())
_LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-url")
_SIZE = re.compile(r"\s*(\d{1,6})(?:\.\d+)?\s*(?:px)?\s*$")
_SMALL_PLACEHOLDER = 2_000  # characters of a data: URL that stands in for a picture loaded later


@dataclass(frozen=True)
class TextRun:
    """Text without a block boundary or a picture inside."""

    text: str


@dataclass(frozen=True)
class PictureLink:
    """A picture: its address as the page has it, the sides it declares (0: none), whether it is a site's furniture."""

    src: str
    width: int
    height: int
    furniture: bool


def reading_order(tree: Any) -> Iterator[TextRun | PictureLink]:
    """Text runs and pictures of an lxml tree in document order. Comments and scripts are left out."""
    from lxml import etree

    buffer: list[str] = []
    skipping = furniture = 0

    def flush() -> Iterator[TextRun]:
        text = "".join(buffer)
        buffer.clear()
        if text.strip():
            yield TextRun(text)

    for event, element in etree.iterwalk(tree, events=("start", "end", "comment", "pi")):
        tag = element.tag
        if event == "start" and isinstance(tag, str):
            if tag in _SKIPPED:
                skipping += 1
            furniture += tag in _FURNITURE
            if skipping:
                continue
            if tag not in _INLINE:
                yield from flush()
            if tag == "img" and (link := _picture_link(element, furniture > 0)) is not None:
                yield from flush()
                yield link
            if element.text:
                buffer.append(element.text)
            continue
        if event == "end":
            if not skipping and tag not in _INLINE:
                yield from flush()
            skipping -= tag in _SKIPPED
            furniture -= tag in _FURNITURE
        if element.tail and not skipping:
            buffer.append(element.tail)
    yield from flush()


def forget_inline_classes(tree: Any) -> None:
    """Take class and id from elements inside lines, so that `<span class="guimenu">` is not taken for a menu."""
    for element in tree.iter(*_INLINE):
        for name in ("class", "id", "role"):
            element.attrib.pop(name, None)


def _picture_link(element: Any, furniture: bool) -> PictureLink | None:
    src = (element.get("src") or "").strip()
    if not src or (src.startswith("data:") and len(src) < _SMALL_PLACEHOLDER):
        later = next((value.strip() for name in _LAZY if (value := element.get(name))), "")
        later = later or _largest(element.get("data-srcset") or element.get("srcset") or "")
        src = later or src
    if not src:
        return None
    return PictureLink(src, _side(element.get("width")), _side(element.get("height")), furniture)


def _side(value: str | None) -> int:
    match = _SIZE.match(value or "")
    return int(match.group(1)) if match else 0


def _largest(srcset: str) -> str:
    """The last candidate of a srcset, by custom the largest."""
    candidates = [part.split() for part in srcset.split(", ") if part.strip()]
    return candidates[-1][0].rstrip(",") if candidates else ""
