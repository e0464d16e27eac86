"""KOSMOS pictures for transformers: safe decoding, a square of the model's size (bicubic by Pillow), CLIP's mean.

Works without torchvision. The pixels are those of the `kosmos` package to the last bit.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from PIL import GifImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.Image import Resampling, Transpose
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import load_image

# Each scan of a progressive JPEG goes over all pixels, and thirty bytes make one; cameras write a dozen.
_MAX_JPEG_SCANS = 100

# By the first bytes, never by the file's name. These openers read the header only, and leave the size limit to us.
_OPENERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
    (b"RIFF....WEBP", WebPImagePlugin.WebPImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
)
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


class KosmosImageProcessor(BaseImageProcessor):
    """Pictures to `pixel_values` [N, 3, S, S]: fp32, normalised (uint8 with `do_normalize=False`).

    A picture is a path, a `data:` URL, base64, an http(s) URL, a PIL image, or a uint8 array or tensor
    ([H, W, 3], [3, H, W] or [H, W]). Raises ValueError for anything else, and over `max_megapixels`.
    """

    model_input_names = ["pixel_values"]

    def __init__(
        self,
        size: dict[str, int] | int | None = None,
        image_mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        image_std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
        do_normalize: bool = True,
        max_megapixels: float = 16.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        side = _side(size if size is not None else 224)
        self.size = {"height": side, "width": side}
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.do_normalize = do_normalize
        self.max_megapixels = max_megapixels

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Pictures named by a path, URL or base64 as PIL images, in the same nesting; other pictures as they are."""
        if isinstance(image_url_or_urls, list | tuple):
            return [self.fetch_images(one) for one in image_url_or_urls]
        return self._fetch(image_url_or_urls) if isinstance(image_url_or_urls, str | Path) else image_url_or_urls

    def preprocess(
        self,
        images: Any,
        size: dict[str, int] | int | None = None,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        do_normalize: bool | None = None,
        return_tensors: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """One picture, or any nesting of lists of them, to `pixel_values` [N, 3, S, S]."""
        side = _side(size if size is not None else self.size)
        pixels = [self._pixels(picture, side) for picture in _flatten(images)]
        if not pixels:
            raise ValueError("no pictures given")
        made = torch.from_numpy(np.stack(pixels))
        if self.do_normalize if do_normalize is None else do_normalize:
            mean = torch.tensor(list(image_mean or self.image_mean)).view(3, 1, 1)
            deviation = torch.tensor(list(image_std or self.image_std)).view(3, 1, 1)
            made = (made.float() / 255 - mean) / deviation
        values = made if str(getattr(return_tensors, "value", return_tensors)) == "pt" else list(made.numpy())
        return BatchFeature({"pixel_values": values}, tensor_type=return_tensors)

    def _fetch(self, source: str | Path) -> PIL.Image.Image:
        text = str(source)
        if text.startswith(("http://", "https://")):
            return load_image(text)
        if text.startswith("data:"):
            return self._from_base64(text.partition(",")[2])
        if len(text) < 4096 and Path(text).is_file():
            return self._open(Path(text).read_bytes(), text)
        return self._from_base64(text)

    def _from_base64(self, text: str) -> PIL.Image.Image:
        try:
            return self._open(base64.b64decode("".join(text.split()), validate=True), "picture in base64")
        except binascii.Error:
            raise ValueError(f"no picture: '{text[:60]}' is no file, URL or base64") from None

    def _open(self, data: bytes, where: str) -> PIL.Image.Image:
        start = data[:4] + b"...." + data[8:12] if data[:4] == b"RIFF" else data[:12]
        if start.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > _MAX_JPEG_SCANS:
            raise ValueError(f"{where}: a JPEG of more than {_MAX_JPEG_SCANS} scans; save it anew")
        for signature, opener in _OPENERS:
            if start.startswith(signature):
                opened = opener(io.BytesIO(data))
                self._check_size(opened.width, opened.height, where)
                return opened
        raise ValueError(f"{where}: not a PNG, JPEG, WEBP or GIF picture; convert it to one")

    def _check_size(self, width: int, height: int, where: str) -> None:
        if width * height > self.max_megapixels * 1e6:
            raise ValueError(
                f"{where}: {width} x {height} pixels are over the limit of {self.max_megapixels:g} megapixels"
                " (max_megapixels); make the picture smaller"
            )

    def _pixels(self, picture: Any, side: int) -> np.ndarray:
        """uint8 [3, S, S], the whole picture squeezed into the square."""
        if isinstance(picture, str | Path):
            picture = self._fetch(picture)
        if not isinstance(picture, PIL.Image.Image):
            picture = PIL.Image.fromarray(_array(picture))
        self._check_size(picture.width, picture.height, "picture")
        picture.load()
        resized = _to_rgb(_upright(picture)).resize((side, side), Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def _side(size: Any) -> int:
    """The side of the square. Raises ValueError when `size` is no square."""
    if isinstance(size, int):
        return size
    given = dict(size)
    height, width = given.get("height"), given.get("width")
    if not height or height != width:
        raise ValueError(f"size is {{'height': S, 'width': S}} with one S, not {given}")
    return int(height)


def _flatten(images: Any) -> Iterator[Any]:
    if isinstance(images, list | tuple):
        for one in images:
            yield from _flatten(one)
    elif isinstance(images, np.ndarray | torch.Tensor) and images.ndim == 4:
        yield from images
    elif images is not None:
        yield images


def _array(picture: Any) -> np.ndarray:
    """uint8 [H, W, 3] of an array or tensor."""
    array = picture.cpu().numpy() if isinstance(picture, torch.Tensor) else np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size:
        raise ValueError(f"an array of pixels is uint8 [H, W, 3], not {array.dtype} {list(array.shape)}; convert it")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.shape[2] != 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    if array.shape[2] != 3:
        raise ValueError(f"an array of pixels is [H, W, 3] or [3, H, W], not {list(array.shape)}")
    return np.ascontiguousarray(array)


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        orientation = None
    how = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if how is None else picture.transpose(how)


def _to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Transparency on white, 16 bits scaled to 8, palettes and CMYK converted."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64).clip(0, 65535)
        grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
        transparent = picture.info.get("transparency")
        if isinstance(transparent, int):
            grey[values == transparent] = 255
        return PIL.Image.fromarray(grey).convert("RGB")
    if picture.mode == "F":
        raise ValueError("a picture of floating-point pixels has no fixed range; convert it to 8 bits first")
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    pixels = picture.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
