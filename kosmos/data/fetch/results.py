"""What comes of fetching a URL: its bytes, or a short reason why not, under which failures are counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fetched:
    """What a URL gave. `content_type` is what the server said, which nobody should trust."""

    data: bytes
    content_type: str
    final_url: str


@dataclass(frozen=True)
class Picture:
    """A fetched picture that was decoded once: encoded bytes, and its upright size in pixels."""

    data: bytes
    width: int
    height: int
    final_url: str


@dataclass(frozen=True)
class FetchFailure:
    """A URL that gave nothing usable. `reason` is one of few and is counted, `detail` is for people.

    bad url, scheme, credentials in url, port, private address, data url: refused before any connection
    host not found, cannot connect, tls, timeout, bad response, cut short, http 404 (or another status): the network
    robots, robots unreachable, opted out, rate limited: the host does not want it
    too many redirects, too large, encoding, empty: the answer
    not a picture, broken picture, too many pixels, too small: the picture
    """

    reason: str
    detail: str = ""


class FetchError(Exception):
    """A failure on its way to becoming a FetchFailure. `retry` says that another try may help."""

    def __init__(self, reason: str, detail: str = "", retry: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.retry = retry
        self.retry_after = retry_after

    def failure(self) -> FetchFailure:
        return FetchFailure(self.reason, self.detail)
