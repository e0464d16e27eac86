"""Rendered text: small coverage masks of words in several fonts, one family kept for the test.

Fonts that come with the Python packages: Aileron inside Pillow; DejaVu, STIX and Computer Modern with matplotlib.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from kosmos.errors import DataError

AILERON = "aileron"
FILES = {
    "dejavu sans": "DejaVuSans.ttf",
    "dejavu sans bold": "DejaVuSans-Bold.ttf",
    "dejavu mono": "DejaVuSansMono.ttf",
    "stix": "STIXGeneral.ttf",
    "stix bold": "STIXGeneralBol.ttf",
    "computer modern": "cmss10.ttf",
    "dejavu serif": "DejaVuSerif.ttf",
    "dejavu serif bold": "DejaVuSerif-Bold.ttf",
}
# The serif family of DejaVu is never seen in training.
TEST_FONTS = ("dejavu serif", "dejavu serif bold")
TRAIN_FONTS = (AILERON, *(name for name in FILES if name not in TEST_FONTS))


def fonts(split: str) -> tuple[str, ...]:
    """The fonts of a split; no family is in both."""
    return TEST_FONTS if split == "test" else TRAIN_FONTS


@cache
def _folder() -> Path:
    try:
        import matplotlib
    except ImportError as error:
        raise DataError("rendered text needs matplotlib's fonts: python -m pip install matplotlib") from error
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@cache
def _font(name: str, points: int) -> ImageFont.FreeTypeFont:
    if name == AILERON:
        built_in = ImageFont.load_default(points)
        if not isinstance(built_in, ImageFont.FreeTypeFont):
            raise DataError("this Pillow has no FreeType, so it cannot draw text: reinstall it from its wheel")
        return built_in
    return ImageFont.truetype(str(_folder() / FILES[name]), points, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=50_000)
def text_mask(text: str, font: str, points: int) -> np.ndarray:
    """uint8 [h, w] coverage of one line of text, cropped to its ink."""
    face = _font(font, points)
    left, top, right, bottom = (round(edge) for edge in face.getbbox(text))
    image = PILImage.new("L", (max(1, right - left), max(1, bottom - top)), 0)
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=face)
    return np.asarray(image)


@lru_cache(maxsize=50_000)
def fitted_mask(text: str, font: str, width: int, height: int) -> np.ndarray:
    """The same at about the largest of the sizes 20 to 6 points that fits into width x height pixels.

    Raises DataError when even the smallest does not fit.
    """
    largest = text_mask(text, font, 20)
    # Ink grows nearly in step with the points, so the search starts one above what that predicts.
    guess = int(20 * min(1.0, width / largest.shape[1], height / largest.shape[0])) + 1
    for points in range(min(20, guess), 5, -1):
        mask = text_mask(text, font, points)
        if mask.shape[0] <= height and mask.shape[1] <= width:
            return mask
    raise DataError(f"'{text}' does not fit into {width} x {height} pixels")
