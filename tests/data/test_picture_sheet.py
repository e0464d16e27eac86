"""The grid of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kosmos.data.picture_sheet import Card, write_sheet
from kosmos.document import Image
from kosmos.errors import UsageError

COLOUR = (12, 120, 200)


def draw(path: Path, *cards: Card) -> np.ndarray:
    write_sheet(path, cards, "Title", "subtitle")
    return np.asarray(PIL.Image.open(path))


def area(sheet: np.ndarray) -> tuple[int, int]:
    """(width, height) of what has the colour."""
    rows, columns = np.nonzero((sheet == np.array(COLOUR)).all(-1))
    return int(columns.max() - columns.min() + 1), int(rows.max() - rows.min() + 1)


@pytest.mark.parametrize(("size", "drawn"), [((50, 50), (208, 208)), ((100, 50), (208, 104)), ((5, 500), (2, 208))])
def test_pictures_keep_their_form(tmp_path: Path, size: tuple[int, int], drawn: tuple[int, int]) -> None:
    picture = Image(PIL.Image.new("RGB", size, COLOUR))
    width, height = area(draw(tmp_path / "sheet.png", Card(picture, "words")))
    assert (width, height) == pytest.approx(drawn, abs=12 if min(size) == 5 else 0)


def test_marks_and_notes_take_room_only_where_they_are(tmp_path: Path) -> None:
    picture = Image(PIL.Image.new("RGB", (8, 8), COLOUR))
    plain = draw(tmp_path / "plain.png", Card(picture, "words"))
    noted = draw(tmp_path / "noted.png", Card(picture, "words", note="8 x 8 png"))
    marked = draw(tmp_path / "marked.png", Card(picture, "words", mark=True))
    assert noted.shape[0] > plain.shape[0] == marked.shape[0]
    green = [(sheet == np.array((47, 158, 97))).all(-1).sum() for sheet in (plain, noted, marked)]
    assert green[0] == green[1] == 0 < green[2]


def test_very_long_words_are_cut(tmp_path: Path) -> None:
    picture = Image(PIL.Image.new("RGB", (8, 8), COLOUR))
    sheet = draw(tmp_path / "long.png", Card(picture, "w" * 1_000_000, note="n" * 1_000_000))
    assert sheet.shape[1] == draw(tmp_path / "short.png", Card(picture, "w", note="n")).shape[1]


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one picture"):
        draw(tmp_path / "none.png")
