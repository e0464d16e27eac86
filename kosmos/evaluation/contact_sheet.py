"""The contact sheet: held-out pictures with the model's own captions under them, right and wrong ones marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from kosmos.document import Image
from kosmos.errors import UsageError
from kosmos.evaluation.runner import TaskResult
from kosmos.evaluation.task import Task
from kosmos.images import decode_image
from kosmos.storage import make_folder, write_atomic

# Everything is laid out in these units, then drawn SCALE times as large.
SCALE = 2
CELL_WIDTH, PICTURE, PADDING, GAP, MARGIN = 132, 104, 14, 12, 28
LINE_HEIGHT, FONT_SIZE, MAX_LINES = 16, 12.5, 2
TEXT_INSET, MARK_WIDTH = 9, 16
HEADER, FOOTER = 72, 34

_INK, _GREY, _LINE, _PAPER, _CARD = "#1f2933", "#7b8794", "#e4e7eb", "#f5f7fa", "#ffffff"
_RIGHT, _WRONG = "#2f9e61", "#d64545"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Tile:
    """One picture, what the model said, whether that is right, and what it shows."""

    picture: Image
    caption: str
    right: bool
    gold: str


def choose_tiles(task: Task, result: TaskResult, count: int = 32, seed: int = 0) -> list[Tile]:
    """Tiles for `count` test items, drawn by a fixed seed that knows nothing of the answers.

    The last image of an item is shown; `meta["display"]` of the Example may hold a larger form of it.
    """
    examples = [example for example in task.examples()[: result.n] if example.images]
    order = np.random.default_rng(seed).permutation(len(examples))[:count]
    position = {example.id: index for index, example in enumerate(task.examples()[: result.n])}
    tiles = []
    for index in order:
        example = examples[int(index)]
        place = position[example.id]
        tiles.append(
            Tile(
                picture=example.meta.get("display", example.images[-1]),
                caption=result.predictions[place].strip(),
                right=result.values[place] == 1.0,
                gold=task.golds(example)[0].strip(),
            )
        )
    return tiles


def write_contact_sheet(
    path: Path, tiles: Sequence[Tile], title: str, subtitle: str, credit: str, columns: int = 8
) -> None:
    """Draw the tiles as a grid and write a PNG. `credit` names the artists and the licence of the pictures."""
    if not tiles:
        raise UsageError("a contact sheet needs at least one picture")
    columns = min(columns, len(tiles))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(_cell_height(tile) for tile in row) for row in rows]
    width = 2 * MARGIN + columns * CELL_WIDTH + (columns - 1) * GAP
    height = HEADER + sum(heights) + (len(rows) - 1) * GAP + FOOTER + 12
    sheet = PIL.Image.new("RGB", (width * SCALE, height * SCALE), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _text(draw, MARGIN, 16, title, _font(20), _INK)
    _text(draw, MARGIN, 43, _fit(subtitle, _font(FONT_SIZE), width - 2 * MARGIN), _font(FONT_SIZE), _GREY)
    top = HEADER
    for row, cell_height in zip(rows, heights):
        for column, tile in enumerate(row):
            _draw_tile(sheet, draw, tile, MARGIN + column * (CELL_WIDTH + GAP), top, cell_height)
        top += cell_height + GAP
    _text(draw, MARGIN, height - FOOTER, _fit(credit, _font(11), width - 2 * MARGIN), _font(11), _GREY)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    make_folder(path.parent)
    write_atomic(path, buffer.getvalue())


def _cell_height(tile: Tile) -> int:
    lines = len(_caption_lines(tile)) + (not tile.right)
    return PADDING + PICTURE + 8 + LINE_HEIGHT * lines + 8


def _caption_lines(tile: Tile) -> list[str]:
    """The caption in at most MAX_LINES lines; the first leaves room for the mark."""
    width = CELL_WIDTH - 2 * TEXT_INSET
    return _wrap(tile.caption or "(nothing)", _font(FONT_SIZE), width - MARK_WIDTH, width)


def _draw_tile(sheet: PIL.Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int, height: int) -> None:
    box = _scaled(left, top, left + CELL_WIDTH, top + height)
    draw.rounded_rectangle(box, radius=10 * SCALE, fill=_CARD, outline=_LINE, width=SCALE)
    picture = decode_image(tile.picture).resize((PICTURE * SCALE, PICTURE * SCALE), PIL.Image.Resampling.LANCZOS)
    corners = PIL.Image.new("L", picture.size, 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, *picture.size), radius=6 * SCALE, fill=255)
    sheet.paste(picture, ((left + PADDING) * SCALE, (top + PADDING) * SCALE), corners)
    text_top = top + PADDING + PICTURE + 8
    _mark(draw, left + TEXT_INSET + 1, text_top + 3, tile.right)
    lines = _caption_lines(tile)
    for number, line in enumerate(lines):
        inset = TEXT_INSET + (0 if number else MARK_WIDTH)
        _text(draw, left + inset, text_top + number * LINE_HEIGHT, line, _font(FONT_SIZE), _INK)
    if not tile.right:
        wanted = _fit(f"is: {tile.gold}", _font(10.5), CELL_WIDTH - 2 * TEXT_INSET)
        _text(draw, left + TEXT_INSET, text_top + len(lines) * LINE_HEIGHT + 1, wanted, _font(10.5), _GREY)


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
