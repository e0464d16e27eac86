"""A page of blocks, written as Markdown or as one HTML file with its pictures inside. Words in backticks are code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Link:
    """Words that lead somewhere, relative to the page."""

    text: str
    target: str


Cell = str | Link


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]
    warning: bool = False


@dataclass(frozen=True)
class Band:
    """A row of a table that is a heading of those below it."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table. `numeric`: places of the columns that go to the right."""

    headings: tuple[str, ...]
    rows: tuple[Band | tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Shown:
    """One sample. `pictures`: encoded small pictures (JPEG), shown where the page can; `lines`: (what, text)."""

    title: str
    right: bool | None
    lines: tuple[tuple[str, str], ...]
    pictures: tuple[bytes, ...] = field(default=(), repr=False)
    missing: str = ""


@dataclass(frozen=True)
class Gallery:
    items: tuple[Shown, ...]


Block = Heading | Paragraph | Bullets | Grid | Gallery


@dataclass(frozen=True)
class Page:
    title: str
    blocks: Sequence[Block]


def shorten(text: str, limit: int = 240) -> str:
    """The text on one line, its middle left out where it is long."""
    shown = " ⏎ ".join(part.strip() for part in text.strip().splitlines())
    return shown if len(shown) <= limit else f"{shown[: limit // 2].rstrip()} … {shown[-limit // 2 :].lstrip()}"
