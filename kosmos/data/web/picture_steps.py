"""Steps that bring a page's pictures, and the paper's rules for them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from kosmos.data.fetch.results import FetchFailure, Picture
from kosmos.data.fetch.settings import FetchSettings
from kosmos.data.tar_writer import picture_suffix
from kosmos.data.web.html_folder import local_picture
from kosmos.data.web.page import tidy
from kosmos.data.web.settings import PictureRules
from kosmos.data.web.step import PICTURE_REMOVED, CountingStep
from kosmos.errors import DataError, ImageError
from kosmos.images import decode_image

_PAGES_AT_ONCE = 64  # whose pictures are fetched together and lie in memory
NO_PICTURE_LEFT = "no picture left"


class Fetcher(Protocol):
    """What fetches pictures from the web: kosmos.data.fetch.pictures.PictureFetcher."""

    def fetch(self, urls: Sequence[str]) -> list[Picture | FetchFailure]:
        """One result for each URL, in their order."""
        ...


OpenFetcher = Callable[[FetchSettings], AbstractContextManager[Any]]  # gives a Fetcher


class BringPictures(CountingStep):
    """Gives every picture its bytes: from `data:` addresses, from the folder of the page, or from the web.

    `root` is the folder of HTML, empty for pages of the web; `fetch` is None where nothing may be fetched.
    """

    def __init__(
        self, root: str, rules: PictureRules, fetch: FetchSettings | None, open_fetcher: OpenFetcher | None = None
    ) -> None:
        super().__init__("bring pictures")
        self.root = root
        self.rules = rules
        self.fetch = fetch
        self.open_fetcher = open_fetcher

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the pages with the pictures that could be had, as Media with bytes."""
        pages = iter(data)
        with self._fetcher() as fetcher:
            while some := list(itertools.islice(pages, _PAGES_AT_ONCE)):
                with self.busy():
                    self._bring(some, fetcher)
                for page in some:
                    if page.media:
                        yield page
                    else:
                        self.remove(NO_PICTURE_LEFT)

    def _fetcher(self) -> AbstractContextManager[Fetcher | None]:
        if self.fetch is None:
            return nullcontext()
        if self.open_fetcher is not None:
            return self.open_fetcher(self.fetch)
        from kosmos.data.fetch.pictures import PictureFetcher

        return PictureFetcher(self.fetch)

    def _bring(self, pages: list[Any], fetcher: Fetcher | None) -> None:
        from_web: list[Any] = []
        for page in pages:
            for media in page.media:
                scheme = media.url.partition(":")[0].lower() if ":" in media.url[:12] else _scheme(media.url)
                if scheme == "data":
                    media.media_bytes = self._checked(_from_data_url(media.url, self.rules.max_bytes))
                elif scheme in ("http", "https") and fetcher is not None:
                    from_web.append(media)
                elif scheme in ("http", "https"):
                    self.count(PICTURE_REMOVED + "on the web, not fetched")
                elif scheme or media.url.startswith("//") or not self.root:
                    self.count(PICTURE_REMOVED + "not a web address")
                else:
                    media.media_bytes = self._checked(
                        local_picture(Path(self.root), page.id, media.url, self.rules.max_bytes)
                    )
        if fetcher is not None and from_web:
            for media, result in zip(from_web, fetcher.fetch([media.url for media in from_web]), strict=True):
                media.media_bytes = self._checked(result.reason if isinstance(result, FetchFailure) else result.data)
        for page in pages:
            page.media = [media for media in page.media if media.media_bytes is not None]

    def _checked(self, found: bytes | str) -> bytes | None:
        if isinstance(found, bytes):
            return found
        self.count(PICTURE_REMOVED + found)
        return None


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:
        return "invalid"


def _from_data_url(url: str, limit: int) -> bytes | str:
    from kosmos.data.fetch.body import decode_data_url
    from kosmos.data.fetch.results import FetchError

    try:
        return decode_data_url(url, limit)[0]
    except FetchError as error:
        return error.reason


class KeepPictures(CountingStep):
    """The paper's rules: pictures of 64 pixels or more, of more than one colour, among text, at most five; and half
    of the documents with a single one."""

    def __init__(self, rules: PictureRules, seed: int) -> None:
        super().__init__("picture rules")
        self.rules = rules
        self.seed = seed

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the pages that are documents."""
        for page in data:
            with self.busy():
                page.media = self._good(page.media)
                fault = self._document_fault(page)
                if fault:
                    self.remove(fault, len(page.media))
                else:
                    self.count(
                        PICTURE_REMOVED + f"beyond {self.rules.max_pictures} of a document",
                        max(len(page.media) - self.rules.max_pictures, 0),
                    )
                    page.media = page.media[: self.rules.max_pictures]
            if not fault:
                yield page

    def _good(self, pictures: list[Any]) -> list[Any]:
        kept: dict[bytes, Any] = {}
        for media in pictures:
            digest = hashlib.sha256(media.media_bytes).digest()
            fault = "on the page before" if digest in kept else picture_fault(media.media_bytes, self.rules)
            if fault is None:
                kept[digest] = media
            else:
                self.count(PICTURE_REMOVED + fault)
        return list(kept.values())

    def _document_fault(self, page: Any) -> str:
        if not page.media:
            return NO_PICTURE_LEFT
        if not interspersed(page.text, [media.offset for media in page.media]):
            return "pictures not among the text"
        if len(page.media) == 1 and uniform(page.id, self.seed) >= self.rules.keep_one_picture:
            return "one picture, dropped at random"
        return ""


def picture_fault(data: bytes, rules: PictureRules) -> str | None:
    """Why a picture is dropped, or None: not one, too many pixels, too small, single-coloured."""
    try:
        picture_suffix(data)
    except DataError:
        return "not a picture"
    try:
        picture = decode_image(data, rules.max_megapixels)
    except ImageError as error:
        return "too many pixels" if "over the limit" in str(error) else "broken picture"
    if min(picture.size) < rules.min_side:
        return f"smaller than {rules.min_side} pixels"
    bands = cast(list[tuple[int, int]], picture.getextrema())  # of an RGB picture: one pair a channel
    if all(high - low <= rules.max_colour_range for low, high in bands):
        return "single-coloured"
    return None


def interspersed(text: str, offsets: Sequence[int]) -> bool:
    """Whether pictures stand among the text: not two or more in one heap before it or after it."""
    if not tidy(text):
        return False
    if len(offsets) < 2:
        return True
    inside = text[offsets[0] : offsets[-1]].strip()
    return bool(inside) or bool(text[: offsets[0]].strip() and text[offsets[-1] :].strip())


def uniform(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on a document's name and the seed only."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
