"""Drawing on small uint8 arrays: backgrounds, pasting, shapes, and the changes that training pictures go through.

A canvas is uint8 [size, size, 3]; a sprite uint8 [h, w, 4] with premultiplied alpha. Training pictures vary in
background and light; test pictures are plain: white, and nothing changed. A third split, `plain`, has the content of
training (its artists, fonts, words and rules) in the rendering of the test: pixel baselines are fitted on it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from kosmos.data.picturebook.concepts import MASTER_SIZE, PictureBook

SIZE = 48
SHAPES = ("circle", "square", "triangle", "cross", "ring", "bar")
Color = tuple[int, int, int]
COLORS: dict[str, Color] = {
    "red": (220, 40, 40),
    "orange": (245, 145, 30),
    "yellow": (245, 220, 50),
    "green": (50, 165, 70),
    "blue": (45, 100, 220),
    "purple": (145, 70, 190),
    "pink": (245, 150, 195),
    "brown": (130, 80, 45),
    "black": (35, 35, 35),
    "gray": (145, 145, 145),
}


def is_plain(split: str) -> bool:
    """Whether the split's pictures are rendered plainly: `test` and `plain`, not `train`."""
    return split != "train"


def plain(size: int = SIZE, color: Color = (255, 255, 255)) -> np.ndarray:
    """uint8 [size, size, 3] of one colour."""
    return np.frombuffer(bytearray(bytes(color) * (size * size)), dtype=np.uint8).reshape(size, size, 3)


def ground(rng: np.random.Generator, split: str) -> Color:
    """White where rendering is plain; in training half white, else a light colour, now and then any colour."""
    if is_plain(split) or (kind := rng.random()) < 0.5:
        return (255, 255, 255)
    low = 0 if kind > 0.92 else 170
    red, green, blue = rng.integers(low, 256, 3).tolist()
    return (red, green, blue)


def background(rng: np.random.Generator, split: str, size: int = SIZE) -> np.ndarray:
    """A canvas of one colour, as `ground` draws it."""
    return plain(size, ground(rng, split))


def paste(canvas: np.ndarray, sprite: np.ndarray, x: int, y: int) -> None:
    """Lay a premultiplied sprite [h, w, 4] over the canvas with its upper left corner at (x, y), inside the canvas."""
    height, width = sprite.shape[:2]
    region = canvas[y : y + height, x : x + width]
    covered = region.astype(np.uint16) * (255 - sprite[..., 3:]) // 255
    region[:] = sprite[..., :3] + covered.astype(np.uint8)


def relight(canvas: np.ndarray, rng: np.random.Generator, split: str, strength: float = 0.2) -> np.ndarray:
    """Training: each colour channel times its own factor around 1, all times a common one; plain: unchanged."""
    if is_plain(split):
        return canvas
    factors = (1.0 + strength * (rng.random(4) - 0.5) * 2.0).astype(np.float32)
    gains = factors[:3] * factors[3]
    return np.minimum(canvas * gains, 255.0).astype(np.uint8)


def vary(sprite: np.ndarray, rng: np.random.Generator, split: str, flip: bool = True) -> np.ndarray:
    """Training: mirrored half of the time; plain: unchanged."""
    if is_plain(split) or not flip or rng.random() < 0.5:
        return sprite
    return sprite[:, ::-1]


def moved(
    book: PictureBook, concept: int, artist: str, rng: np.random.Generator, flip: bool, color: Color, size: int = SIZE
) -> np.ndarray:
    """Canvas [size, size, 3]: one drawing on a plain colour, moved, turned, scaled and mirrored at random."""
    numbers = rng.random(6).tolist()
    angle = (numbers[0] - 0.5) * 0.6
    scale = MASTER_SIZE / size / (0.72 + 0.43 * numbers[1])
    shift_x, shift_y = ((number - 0.5) * 0.2 * MASTER_SIZE for number in numbers[2:4])
    stretch = 1.0 + (numbers[4] - 0.5) * 0.2
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    a, b, d, e = cos * stretch, -sin / stretch, sin * stretch, cos / stretch
    if flip and numbers[5] < 0.5:
        a, b = -a, -b
    middle, center = size / 2, MASTER_SIZE / 2
    c, f = center + shift_x - (a + b) * middle, center + shift_y - (d + e) * middle
    drawing = PILImage.frombuffer(
        "RGBA", (MASTER_SIZE, MASTER_SIZE), book.picture(concept, artist), "raw", "RGBA", 0, 1
    )
    # Laid on its background first: interpolation then never meets the undefined colour of clear pixels.
    flat = PILImage.new("RGB", (MASTER_SIZE, MASTER_SIZE), color)
    flat.paste(drawing, (0, 0), drawing)
    turned = flat.transform(
        (size, size), PILImage.Transform.AFFINE, (a, b, c, d, e, f), PILImage.Resampling.BILINEAR, fillcolor=color
    )
    return np.array(turned)


@lru_cache(maxsize=20_000)
def shape_mask(shape: str, size: int, turn: int = 0) -> np.ndarray:
    """uint8 [size, size] coverage of a filled shape, turned by `turn` degrees; drawn at four times the size."""
    big = size * 4
    image = PILImage.new("L", (big, big), 0)
    draw = ImageDraw.Draw(image)
    edge, end = big * 0.06, big * 0.94
    if shape == "circle":
        draw.ellipse((edge, edge, end, end), fill=255)
    elif shape == "square":
        draw.rectangle((big * 0.12, big * 0.12, big * 0.88, big * 0.88), fill=255)
    elif shape == "triangle":
        draw.polygon([(big / 2, edge), (end, end), (edge, end)], fill=255)
    elif shape == "cross":
        draw.rectangle((big * 0.37, edge, big * 0.63, end), fill=255)
        draw.rectangle((edge, big * 0.37, end, big * 0.63), fill=255)
    elif shape == "ring":
        draw.ellipse((edge, edge, end, end), fill=255)
        draw.ellipse((big * 0.3, big * 0.3, big * 0.7, big * 0.7), fill=0)
    elif shape == "bar":
        draw.rectangle((edge, big * 0.34, end, big * 0.66), fill=255)
    else:
        raise ValueError(f"no shape '{shape}'")
    if turn:
        image = image.rotate(turn, PILImage.Resampling.BILINEAR)
    return np.asarray(image.resize((size, size), PILImage.Resampling.BOX))


@lru_cache(maxsize=20_000)
def colored_shape(shape: str, size: int, color: Color) -> np.ndarray:
    """A shape of one colour as a premultiplied sprite; kept and shared, do not write to it."""
    return colored(shape_mask(shape, size), color)


def colored(mask: np.ndarray, color: Color) -> np.ndarray:
    """Premultiplied sprite [h, w, 4] of one colour from a coverage mask uint8 [h, w]."""
    sprite = np.empty((*mask.shape, 4), dtype=np.uint8)
    sprite[..., :3] = mask[..., None] * np.array(color, dtype=np.uint16) // 255
    sprite[..., 3] = mask
    return sprite


def tinted(sprite: np.ndarray, color: Color) -> np.ndarray:
    """A premultiplied sprite drawn again in one colour: its light and dark stay, faintly."""
    alpha = sprite[..., 3]
    light = sprite[..., :3].max(axis=2).astype(np.uint16)
    shade = (160 * alpha.astype(np.uint16) + 95 * light) // 255
    return colored_with_alpha(shade.astype(np.uint8), alpha, color)


def colored_with_alpha(shade: np.ndarray, alpha: np.ndarray, color: Color) -> np.ndarray:
    """Premultiplied sprite of one colour times `shade` (uint8, at most alpha), with the given alpha."""
    sprite = np.empty((*alpha.shape, 4), dtype=np.uint8)
    sprite[..., :3] = shade[..., None] * np.array(color, dtype=np.uint16) // 255
    sprite[..., 3] = alpha
    return sprite
