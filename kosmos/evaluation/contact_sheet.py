"""The contact sheet: held-out pictures with the model's own captions under them, right and wrong ones marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
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
HEADER, FOOTER = 66, 34

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
    rows = -(-len(tiles) // columns)
    cell_height = PADDING + PICTURE + 10 + LINE_HEIGHT * (MAX_LINES + 1) + 8
    width = 2 * MARGIN + columns * CELL_WIDTH + (columns - 1) * GAP
    height = HEADER + rows * cell_height + (rows - 1) * GAP + FOOTER + 12
    sheet = PIL.Image.new("RGB", (width * SCALE, height * SCALE), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _text(draw, MARGIN, 16, title, _font(20), _INK)
    _text(draw, MARGIN, 42, _fit(draw, subtitle, _font(FONT_SIZE), width - 2 * MARGIN), _font(FONT_SIZE), _GREY)
    for index, tile in enumerate(tiles):
        left = MARGIN + (index % columns) * (CELL_WIDTH + GAP)
        top = HEADER + (index // columns) * (cell_height + GAP)
        _draw_tile(sheet, draw, tile, left, top, cell_height)
    _text(draw, MARGIN, height - FOOTER, _fit(draw, credit, _font(11), width - 2 * MARGIN), _font(11), _GREY)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    make_folder(path.parent)
    write_atomic(path, buffer.getvalue())


def _draw_tile(sheet: PIL.Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int, height: int) -> None:
    colour = _RIGHT if tile.right else _WRONG
    box = _scaled(left, top, left + CELL_WIDTH, top + height)
    draw.rounded_rectangle(box, radius=10 * SCALE, fill=_CARD, outline=_LINE, width=SCALE)
    picture = decode_image(tile.picture).resize((PICTURE * SCALE, PICTURE * SCALE), PIL.Image.Resampling.LANCZOS)
    corner = PIL.Image.new("L", picture.size, 0)
    ImageDraw.Draw(corner).rounded_rectangle((0, 0, *picture.size), radius=6 * SCALE, fill=255)
    sheet.paste(picture, (int((left + PADDING) * SCALE), int((top + PADDING) * SCALE)), corner)
    font = _font(FONT_SIZE)
    text_width = CELL_WIDTH - 2 * 8
    baseline = top + PADDING + PICTURE + 8
    lines = _wrap(draw, tile.caption or "(nothing)", font, text_width - 16, text_width)
    _mark(draw, left + 9, baseline + 3, tile.right, colour)
    for number, line in enumerate(lines):
        _text(draw, left + (24 if number == 0 else 8), baseline + number * LINE_HEIGHT, line, font, _INK)
    if not tile.right:
        small = _font(10.5)
        wanted = _fit(draw, f"is: {tile.gold}", small, text_width)
        _text(draw, left + 8, baseline + len(lines) * LINE_HEIGHT + 1, wanted, small, _GREY)


def _mark(draw: ImageDraw.ImageDraw, left: float, top: float, right: bool, colour: str) -> None:
    """A tick or a cross of 10 units."""
    strokes = [[(0, 5), (3.5, 9), (10, 0)]] if right else [[(1, 0), (9, 9)], [(9, 0), (1, 9)]]
    for stroke in strokes:
        points = [((left + x) * SCALE, (top + y) * SCALE) for x, y in stroke]
        draw.line(points, fill=colour, width=2 * SCALE, joint="curve")


def _wrap(draw: ImageDraw.ImageDraw, text: str, font: Font, first: float, width: float) -> list[str]:
    """Break `text` at spaces into at most MAX_LINES lines; the first is `first` units wide, the others `width`."""
    lines: list[str] = []
    words = text.split()
    while words:
        room = first if not lines else width
        if len(lines) == MAX_LINES - 1:
            return [*lines, _fit(draw, " ".join(words), font, room)]
        taken = 1
        while taken < len(words) and _width(draw, " ".join(words[: taken + 1]), font) <= room:
            taken += 1
        lines.append(_fit(draw, " ".join(words[:taken]), font, room))
        words = words[taken:]
    return lines


def _fit(draw: ImageDraw.ImageDraw, text: str, font: Font, width: float) -> str:
    """`text`, shortened with an ellipsis until it is at most `width` units wide."""
    if _width(draw, text, font) <= width:
        return text
    while text and _width(draw, f"{text}...", font) > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def _width(draw: ImageDraw.ImageDraw, text: str, font: Font) -> float:
    return draw.textlength(text, font=font) / SCALE


def _text(draw: ImageDraw.ImageDraw, left: float, top: float, text: str, font: Font, colour: str) -> None:
    draw.text((left * SCALE, top * SCALE), text, font=font, fill=colour)


def _font(size: float) -> Font:
    """Pillow's own typeface (Aileron), so that the sheet looks the same on every machine."""
    return ImageFont.load_default(size * SCALE)


def _scaled(*values: float) -> tuple[float, ...]:
    return tuple(value * SCALE for value in values)
