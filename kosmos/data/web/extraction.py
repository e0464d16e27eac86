"""HTML to main text and pictures in reading order (trafilatura finds the main text)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, cast

from kosmos.data.web.page import tidy
from kosmos.data.web.placement import place_pictures
from kosmos.data.web.reading_order import forget_inline_classes, reading_order

_LINES = frozenset(["p", "head", "item", "quote", "cell", "code", "row", "table", "list", "lb", "div"])
_LANGUAGES = 10
_LANGUAGE_MARGIN = 1.03
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class ExtractedPage:
    """`pictures` holds (offset in `text`, address as the page has it, declared width, declared height)."""

    text: str
    pictures: list[tuple[int, str, int, int]]
    furniture: int  # pictures of menus and footers, or far from the main text


def decode_page(data: bytes, charset: str = "") -> str:
    """The text of an HTML file. What is valid UTF-8 is taken as that, whatever header or page declare."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    for name in (charset, detect_encoding(data, from_html_meta=True) or ""):
        try:
            return str(bytes_to_str(data, name, errors="replace", fallback_encodings=()))
        except (LookupError, ValueError, TypeError):
            continue
    return data.decode("utf-8", "replace")


def plain_text(html: str) -> str:
    """The page's main text, roughly and fast (resiliparse): enough to tell its language."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    return str(extract_plain_text(HTMLTree.parse(html), main_content=True, alt_texts=False))


def is_in_language(text: str, language: str) -> bool | None:
    """Whether a text is in a language (resiliparse); None when it is in none that is known.

    Short texts of terms and names come out as Latin or Luxembourgish by a hair, so a language counts as found when
    it is within 3 % of the nearest one. Sentences that are in another language are 5 % or more nearer to that.
    """
    from resiliparse.parse.lang import detect_fast

    ranks: dict[str, int] = dict(cast(list[tuple[str, int]], detect_fast(text, n_results=_LANGUAGES)))
    if not ranks or not any(map(str.isalpha, text)):  # an empty text is near to every language
        return None
    return bool(ranks.get(language, math.inf) <= _LANGUAGE_MARGIN * min(ranks.values()))


def extract_page(html: str) -> ExtractedPage:
    """Main text and pictures of a page; an empty text when there is none."""
    import trafilatura

    tree = trafilatura.load_html(html)
    if tree is None:
        return ExtractedPage("", [], 0)
    items = list(reading_order(tree))
    forget_inline_classes(tree)
    xml = trafilatura.extract(tree, output_format="xml", include_images=False, include_comments=False, fast=True)
    text = main_text(xml) if xml else ""
    if not text:
        return ExtractedPage("", [], 0)
    placed, far = place_pictures(text, items)
    kept = [place for place in placed if not place.link.furniture]
    pictures = [(place.offset, place.link.src, place.link.width, place.link.height) for place in kept]
    return ExtractedPage(text, pictures, far + len(placed) - len(kept))


def main_text(xml: str) -> str:
    """The text of trafilatura's XML: one line per paragraph, heading, list item or table cell."""
    from lxml import etree

    main = etree.fromstring(xml.encode()).find("main")
    if main is None:
        return ""
    parts: list[str] = []
    _collect(main, parts)
    return tidy("".join(parts))


def _collect(main: Any, parts: list[str]) -> None:
    from lxml import etree

    for event, element in etree.iterwalk(main, events=("start", "end")):
        breaks = element.tag in _LINES
        if breaks:
            parts.append("\n")
        if event == "start" and element.text:
            parts.append(element.text if element.tag == "code" else _SPACE.sub(" ", element.text))
        if event == "end" and element.tail and element is not main:
            parts.append(_SPACE.sub(" ", element.tail))
