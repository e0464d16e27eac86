"""Pictures: safe decoding, and CLIP's two preprocessing forms. Importing this registers the modality `image`."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
from PIL import GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.Image import Resampling, Transpose

from kosmos.config import ModelConfig
from kosmos.document import Image, Segment
from kosmos.errors import ImageError, UsageError
from kosmos.modality import Modality, register_modality

MAX_MEGAPIXELS = 16.0
# Each scan of a progressive JPEG goes over all pixels, and thirty bytes make one; cameras write a dozen.
MAX_JPEG_SCANS = 100
_START_OF_SCAN = b"\xff\xda"
_LONGEST_RATIO = 100  # of the sides, up to which the training form is CLIP's to the last bit

# By the first bytes, never by the file's name. These openers read the header only, and leave the size limit to us.
_OPENERS: tuple[tuple[bytes, Callable[[Any], PIL.Image.Image]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
    (b"RIFF....WEBP", WebPImagePlugin.WebPImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
)

# EXIF orientation, how the camera was held, to what puts the picture upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def decode_image(image: Image | bytes, max_megapixels: float = MAX_MEGAPIXELS) -> PIL.Image.Image:
    """Decode a picture (PNG, JPEG, WEBP or GIF; the first frame) to an upright RGB one.

    The size in the header is checked before any pixel is decoded. Transparency is laid on white, 16 bits are scaled
    to 8, CMYK and palettes are converted, EXIF orientation is applied. Raises ImageError that names the picture.
    """
    segment = image if isinstance(image, Image) else Image(image)
    where = segment.where
    if isinstance(segment.source, np.ndarray):
        _check_size(segment.source.shape[1], segment.source.shape[0], max_megapixels, where)
        return PIL.Image.fromarray(segment.source)
    try:
        opened = segment.source if segment.data is None else _open(segment.data, where)
        _check_size(opened.width, opened.height, max_megapixels, where)
        opened.load()
        return _to_rgb(_upright(opened))
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageError(f"{where}: the picture is damaged or cut short ({reason}); fetch or save it again") from error


def preprocess(picture: PIL.Image.Image, size: int, training: bool) -> np.ndarray:
    """RGB picture to uint8 pixels [3, size, size], bicubic.

    Training: the short side becomes `size`, then the centre is cropped (CLIP). Evaluation: the whole picture is
    squeezed into the square (Kosmos-2's evaluation).
    """
    width, height = picture.size
    short, long = min(width, height), max(width, height)
    if not training or short == long:
        resized = picture.resize((size, size), Resampling.BICUBIC)
    elif long <= _LONGEST_RATIO * short:
        long_side = int(size * long / short)
        first = (long_side - size) // 2
        crop = (first, 0, first + size, size) if width > height else (0, first, size, first + size)
        whole = (long_side, size) if width > height else (size, long_side)
        resized = picture.resize(whole, Resampling.BICUBIC).crop(crop)
    else:
        # A picture of 1 x 16,000,000 pixels would grow without bounds: resize only the square in its middle.
        start, stop = (long - short) / 2, (long + short) / 2
        box = (start, 0.0, stop, height) if width > height else (0.0, start, width, stop)
        resized = picture.resize((size, size), Resampling.BICUBIC, box=box)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def image_features(segment: Segment, config: ModelConfig, training: bool) -> np.ndarray:
    """uint8 pixels [3, S, S] of an Image for this model; an array [S, S, 3] is taken as it is. Raises ImageError."""
    if config.vision is None or not isinstance(segment, Image):
        raise UsageError("a model without a vision tower (vision: null) takes no images")
    size = config.vision.image_size
    source = segment.source
    if isinstance(source, np.ndarray) and source.shape == (size, size, 3):
        return np.ascontiguousarray(source.transpose(2, 0, 1))
    return preprocess(decode_image(segment), size, training)


def blank_image(config: ModelConfig) -> np.ndarray:
    """uint8 pixels [3, S, S] of a black picture."""
    if config.vision is None:
        raise UsageError("a model without a vision tower (vision: null) takes no images")
    return np.zeros((3, config.vision.image_size, config.vision.image_size), np.uint8)


def _open(data: bytes, where: str) -> PIL.Image.Image:
    if not data:
        raise ImageError(f"{where}: the file is empty; fetch or save it again")
    start = data[:4] + b"...." + data[8:12] if data[:4] == b"RIFF" else data[:12]
    if start.startswith(b"\xff\xd8") and data.count(_START_OF_SCAN) > MAX_JPEG_SCANS:
        raise ImageError(f"{where}: a JPEG of more than {MAX_JPEG_SCANS} scans would hold the decoder; save it anew")
    for signature, opener in _OPENERS:
        if start.startswith(signature):
            return opener(io.BytesIO(data))
    raise ImageError(f"{where}: not a PNG, JPEG, WEBP or GIF picture, whatever its name says; convert it to one")


def _check_size(width: int, height: int, max_megapixels: float, where: str) -> None:
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise ImageError(
            f"{where}: {width} x {height} pixels are {megapixels:.0f} megapixels, over the limit of {max_megapixels:g};"
            " make the picture smaller"
        )


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        orientation = None
    how = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if how is None else picture.transpose(how)


def _to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode.startswith("I"):
        return _from_16_bits(picture)
    if picture.mode == "F":
        raise ImageError("a picture of floating-point pixels has no fixed range; convert it to 8 bits first")
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    pixels = picture.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")


def _from_16_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Grey of 16 bits [H, W]; Pillow's own conversion clips at 255 instead of scaling."""
    values = np.asarray(picture).astype(np.int64).clip(0, 65535)
    grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return PIL.Image.fromarray(grey).convert("RGB")


register_modality(
    Modality(
        name="image",
        segment=Image,
        num_slots=lambda config: config.resampler.num_latents,
        features=image_features,
        blank=blank_image,
    )
)
