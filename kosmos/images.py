"""Pictures: safe decoding, and CLIP's two preprocessing forms. Importing this registers the modality `image`."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
from PIL import ImageOps

from kosmos.config import ModelConfig
from kosmos.document import Image, Segment
from kosmos.errors import ConfigError, ImageError
from kosmos.modality import Modality, register_modality

MAX_MEGAPIXELS = 16.0
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


def decode_image(image: Image | bytes, max_megapixels: float = MAX_MEGAPIXELS) -> PIL.Image.Image:
    """Decode a picture to RGB. Raises ImageError."""
    segment = image if isinstance(image, Image) else Image(image)
    try:
        if isinstance(segment.source, np.ndarray):
            return PIL.Image.fromarray(segment.source)
        opened = (
            PIL.Image.open(io.BytesIO(segment.data), formats=FORMATS) if segment.data is not None else segment.source
        )
        if opened.width * opened.height > max_megapixels * 1e6:
            raise ImageError(f"{segment.where}: {opened.width} x {opened.height} pixels, over the limit")
        upright = ImageOps.exif_transpose(opened)
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            upright = PIL.Image.alpha_composite(PIL.Image.new("RGBA", upright.size, "white"), upright)
        return upright.convert("RGB")
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise ImageError(f"{segment.where}: cannot decode the picture: {error}") from error


def preprocess(picture: PIL.Image.Image, size: int, training: bool) -> np.ndarray:
    """RGB picture to uint8 pixels [3, size, size], bicubic.

    Training: the short side becomes `size`, then the centre is cropped. Evaluation: the whole picture is squeezed
    into the square, as Kosmos-2 evaluates.
    """
    width, height = picture.size
    box = (0.0, 0.0, float(width), float(height))
    if training:
        # Only what the crop keeps is resized: the same pixels, and a very long picture costs nothing.
        long_side = int(size * max(width, height) / min(width, height))
        first = (long_side - size) // 2
        scale = max(width, height) / long_side
        span = (first * scale, (first + size) * scale)
        box = (span[0], 0.0, span[1], float(height)) if width > height else (0.0, span[0], float(width), span[1])
    resized = picture.resize((size, size), PIL.Image.Resampling.BICUBIC, box=box)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def image_features(segment: Segment, config: ModelConfig, training: bool) -> np.ndarray:
    """uint8 pixels [3, S, S] of an Image segment for this model; an array of that size already is taken as it is."""
    if config.vision is None:
        raise ConfigError("this model has no vision tower (vision: null) and cannot take images")
    assert isinstance(segment, Image)
    size = config.vision.image_size
    source = segment.source
    if isinstance(source, np.ndarray) and source.shape == (size, size, 3):
        return np.ascontiguousarray(source.transpose(2, 0, 1))
    return preprocess(decode_image(segment), size, training)


register_modality(
    Modality(
        name="image",
        segment=Image,
        num_slots=lambda config: config.resampler.num_latents,
        features=image_features,
    )
)
