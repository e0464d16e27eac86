"""A sheet of pictures: cards in a grid, each with a few words under its picture, as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import PIL.Image
from PIL import ImageDraw, ImageFont

from kosmos.document import Image
from kosmos.errors import ImageError, UsageError
from kosmos.images import decode_image
from kosmos.storage import make_folder, write_atomic

# Everything is laid out in these units, then drawn SCALE times as large.
SCALE = 2
CELL_WIDTH, PICTURE, PADDING, GAP, MARGIN = 132, 104, 14, 12, 28
LINE_HEIGHT, FONT_SIZE, NOTE_SIZE, MAX_LINES = 16, 12.5, 10.5, 2
TEXT_INSET, MARK_WIDTH = 9, 16
HEADER, FOOTER = 72, 34

_INK, _GREY, _LINE, _PAPER, _CARD = "#1f2933", "#7b8794", "#e4e7eb", "#f5f7fa", "#ffffff"
_RIGHT, _WRONG = "#2f9e61", "#d64545"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Card:
    """One picture with its caption, a tick or a cross before it (None: neither), and a small grey note below.

    A picture that cannot be decoded is shown as an empty frame.
    """

    picture: Image
    caption: str
    mark: bool | None = None
    note: str = ""


def write_sheet(
    path: Path, cards: Sequence[Card], title: str, subtitle: str, footer: str = "", columns: int = 8
) -> None:
    """Draw the cards as a grid and write a PNG. Raises UsageError without a card, StorageError from the disk."""
    if not cards:
        raise UsageError("a contact sheet needs at least one picture")
    columns = min(columns, len(cards))
    rows = [cards[start : start + columns] for start in range(0, len(cards), columns)]
    heights = [max(_cell_height(card) for card in row) for row in rows]
    width = 2 * MARGIN + columns * CELL_WIDTH + (columns - 1) * GAP
    height = HEADER + sum(heights) + (len(rows) - 1) * GAP + FOOTER + 12
    sheet = PIL.Image.new("RGB", (width * SCALE, height * SCALE), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _text(draw, MARGIN, 16, _fit(title, _font(20), width - 2 * MARGIN), _font(20), _INK)
    _text(draw, MARGIN, 43, _fit(subtitle, _font(FONT_SIZE), width - 2 * MARGIN), _font(FONT_SIZE), _GREY)
    top = HEADER
    for row, cell_height in zip(rows, heights):
        for column, card in enumerate(row):
            _draw_card(sheet, draw, card, MARGIN + column * (CELL_WIDTH + GAP), top, cell_height)
        top += cell_height + GAP
    _text(draw, MARGIN, height - FOOTER, _fit(footer, _font(11), width - 2 * MARGIN), _font(11), _GREY)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    make_folder(path.parent)
    write_atomic(path, buffer.getvalue())


def _cell_height(card: Card) -> int:
    lines = len(_caption_lines(card)) + bool(card.note)
    return PADDING + PICTURE + 8 + LINE_HEIGHT * lines + 8


def _caption_lines(card: Card) -> list[str]:
    """The caption in at most MAX_LINES lines; the first leaves room for the mark."""
    width = CELL_WIDTH - 2 * TEXT_INSET
    first = width - (0 if card.mark is None else MARK_WIDTH)
    return _wrap(card.caption or "(nothing)", _font(FONT_SIZE), first, width)


def _draw_card(sheet: PIL.Image.Image, draw: ImageDraw.ImageDraw, card: Card, left: int, top: int, height: int) -> None:
    box = _scaled(left, top, left + CELL_WIDTH, top + height)
    draw.rounded_rectangle(box, radius=10 * SCALE, fill=_CARD, outline=_LINE, width=SCALE)
    _draw_picture(sheet, draw, card.picture, left + PADDING, top + PADDING)
    text_top = top + PADDING + PICTURE + 8
    if card.mark is not None:
        _mark(draw, left + TEXT_INSET + 1, text_top + 3, card.mark)
    lines = _caption_lines(card)
    for number, line in enumerate(lines):
        inset = TEXT_INSET + (0 if number or card.mark is None else MARK_WIDTH)
        _text(draw, left + inset, text_top + number * LINE_HEIGHT, line, _font(FONT_SIZE), _INK)
    if card.note:
        note = _fit(card.note, _font(NOTE_SIZE), CELL_WIDTH - 2 * TEXT_INSET)
        _text(draw, left + TEXT_INSET, text_top + len(lines) * LINE_HEIGHT + 1, note, _font(NOTE_SIZE), _GREY)


def _draw_picture(sheet: PIL.Image.Image, draw: ImageDraw.ImageDraw, image: Image, left: int, top: int) -> None:
    """The whole picture in the middle of its square, corners rounded."""
    side = PICTURE * SCALE
    try:
        decoded = decode_image(image)
    except ImageError:
        draw.rounded_rectangle(_scaled(left, top, left + PICTURE, top + PICTURE), 6 * SCALE, outline=_WRONG, width=3)
        return
    factor = side / max(decoded.size)
    size = (max(1, round(decoded.width * factor)), max(1, round(decoded.height * factor)))
    picture = decoded.resize(size, PIL.Image.Resampling.LANCZOS)
    corners = PIL.Image.new("L", picture.size, 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, *picture.size), radius=6 * SCALE, fill=255)
    place = (left * SCALE + (side - size[0]) // 2, top * SCALE + (side - size[1]) // 2)
    sheet.paste(picture, place, corners)


def _mark(draw: ImageDraw.ImageDraw, left: float, top: float, right: bool) -> None:
    """A green tick or a red cross of 10 units."""
    strokes = [[(0, 5), (3.5, 9), (10, 0)]] if right else [[(1, 0), (9, 9)], [(9, 0), (1, 9)]]
    for stroke in strokes:
        points = [((left + x) * SCALE, (top + y) * SCALE) for x, y in stroke]
        draw.line(points, fill=_RIGHT if right else _WRONG, width=2 * SCALE, joint="curve")


def _wrap(text: str, font: Font, first: float, width: float) -> list[str]:
    """Break `text` at spaces into at most MAX_LINES lines; the first is `first` units wide, the others `width`."""
    lines: list[str] = []
    words = text.split()
    while words:
        room = width if lines else first
        if len(lines) == MAX_LINES - 1:
            return [*lines, _fit(" ".join(words), font, room)]
        taken = 1
        while taken < len(words) and _width(" ".join(words[: taken + 1]), font) <= room:
            taken += 1
        lines.append(_fit(" ".join(words[:taken]), font, room))
        words = words[taken:]
    return lines


def _fit(text: str, font: Font, width: float) -> str:
    """`text`, shortened with an ellipsis until it is at most `width` units wide."""
    text = text[:500]  # more never fits, and measuring it costs
    if _width(text, font) <= width:
        return text
    while text and _width(f"{text}...", font) > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def _width(text: str, font: Font) -> float:
    return font.getlength(text) / SCALE


def _text(draw: ImageDraw.ImageDraw, left: float, top: float, text: str, font: Font, colour: str) -> None:
    draw.text((left * SCALE, top * SCALE), text, font=font, fill=colour)


@cache
def _font(size: float) -> Font:
    """Pillow's own typeface (Aileron), so that the sheet looks the same on every machine."""
    return ImageFont.load_default(size * SCALE)


def _scaled(*values: float) -> tuple[float, ...]:
    return tuple(value * SCALE for value in values)
