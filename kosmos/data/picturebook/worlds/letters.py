"""Laying rendered text on a canvas, with the variation of training or plainly."""

from __future__ import annotations

import numpy as np

from kosmos.data.picturebook.canvas import Color, colored, is_plain, paste, plain


def paper_and_ink(rng: np.random.Generator, split: str, size: int) -> tuple[np.ndarray, Color]:
    """A canvas and a colour to write in: black on white where rendering is plain, any readable contrast in training."""
    if is_plain(split) or rng.random() < 0.3:
        return plain(size), (0, 0, 0)
    numbers = rng.integers(0, 70, 6).tolist()
    light: Color = (255 - numbers[0], 255 - numbers[1], 255 - numbers[2])
    dark: Color = (numbers[3], numbers[4], numbers[5])
    if rng.random() < 0.25:
        return plain(size, dark), light
    return plain(size, light), dark


def write(canvas: np.ndarray, mask: np.ndarray, ink: Color, x: int, y: int) -> None:
    """Print a coverage mask with its upper left corner at (x, y)."""
    paste(canvas, colored(mask, ink), x, y)


def write_somewhere(canvas: np.ndarray, mask: np.ndarray, ink: Color, rng: np.random.Generator, split: str) -> None:
    """Print a mask in the middle (plain), or up to a few pixels away from it (training)."""
    height, width = mask.shape
    free_x, free_y = len(canvas) - width, len(canvas) - height
    x, y = free_x // 2, free_y // 2
    if not is_plain(split):
        x = int(np.clip(x + rng.integers(-4, 5), 0, free_x))
        y = int(np.clip(y + rng.integers(-8, 9), 0, free_y))
    write(canvas, mask, ink, x, y)
