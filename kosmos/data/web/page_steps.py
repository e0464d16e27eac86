"""Steps on pages before any picture is fetched: language, main text and pictures, the rules for text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urljoin

from kosmos.data.web.extractor import extractor
from kosmos.data.web.page import make_media
from kosmos.data.web.settings import PageLimits, PagesSettings, PictureRules, TextRules
from kosmos.data.web.step import CPU, PICTURE_REMOVED, PICTURES, CountingStep
from kosmos.data.web.text_faults import text_fault

NO_PICTURES = "no pictures"


class KeepLanguage(CountingStep):
    """Drops pages whose main text is in another language, and those that the parser cannot take."""

    def __init__(self, language: str, limits: PageLimits) -> None:
        super().__init__("language")
        self.language = language
        self.limits = limits

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the pages in the language."""
        for page in data:
            meta = page.metadata
            said = extractor(self.limits).ask("language", meta["html"], meta["charset"], self.language)
            if isinstance(said, str):
                self.remove(said)
                continue
            self.count(CPU, said["cpu"])
            if said["found"]:
                yield page
            else:
                self.remove("unknown language" if said["found"] is None else "another language")


class ExtractContent(CountingStep):
    """Replaces HTML by main text and pictures. A picture that is declared small, or stands there again, is dropped."""

    def __init__(self, limits: PageLimits, rules: PictureRules) -> None:
        super().__init__("main text and pictures")
        self.limits = limits
        self.rules = rules

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the pages that have a main text and a picture."""
        for page in data:
            said = extractor(self.limits).ask("extract", page.metadata.pop("html"), page.metadata.pop("charset"))
            if isinstance(said, str):
                self.remove(said)
                continue
            self.count(CPU, said["cpu"])
            with self.busy():
                page.text = said["text"]
                found = len(said["pictures"]) + said["furniture"]
                self.count(PICTURES, found)
                if not page.text:
                    self.remove("no main text", found)
                    continue
                self.count(PICTURE_REMOVED + "menu, footer or far from the main text", said["furniture"])
                page.media = self._pictures(said["pictures"], page.metadata["url"])
            if page.media:
                yield page
            else:
                self.remove(NO_PICTURES)

    def _pictures(self, pictures: list[tuple[int, str, int, int]], base: str) -> list[Any]:
        kept: dict[str, int] = {}
        for offset, src, width, height in pictures:
            address = _address(base, src)
            if any(0 < side < self.rules.min_side for side in (width, height)):
                self.count(PICTURE_REMOVED + f"declared smaller than {self.rules.min_side} pixels")
            elif address is None:
                self.count(PICTURE_REMOVED + "bad address")
            elif address in kept:
                self.count(PICTURE_REMOVED + "on the page before")
            else:
                kept[address] = offset
        return [make_media(offset, address) for address, offset in kept.items()]


def _address(base: str, src: str) -> str | None:
    """The picture's full address; relative to a folder of HTML it stays as it is."""
    if src[:5].lower() == "data:" or not base:
        return src
    try:
        return urljoin(base, src)
    except ValueError:
        return None


class KeepProse(CountingStep):
    """Drops pages with too little text, spam and gibberish."""

    def __init__(self, rules: TextRules) -> None:
        super().__init__("text rules")
        self.rules = rules

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the pages whose text breaks no rule."""
        for page in data:
            with self.busy():
                fault = text_fault(page.text, self.rules)
            if fault is None:
                yield page
            else:
                self.remove(fault, len(page.media))


def page_steps(settings: PagesSettings) -> list[CountingStep]:
    """The steps of this module in order."""
    return [
        KeepLanguage(settings.language, settings.limits),
        ExtractContent(settings.limits, settings.pictures),
        KeepProse(settings.text),
    ]
