"""Pictures of requests: read from `data:` URLs, measured before they are decoded, decoded off the event loop.

A picture of a few kilobytes can decode to gigabytes, so its header is read first. What leaves this module has been
decoded to its last pixel: the engine meets no damaged picture.
"""

from __future__ import annotations

import asyncio
import base64
import re
from concurrent.futures import ThreadPoolExecutor

from kosmos.document import Image
from kosmos.errors import ImageError
from kosmos.images import decode_image, preprocess
from kosmos.serving.options import ServeOptions
from kosmos.serving.picture_header import header_size, kind_of
from kosmos.serving.refusals import Refusal

_MEDIA_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/jpg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF"}
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_LONGEST_HEAD = 64  # of a data: URL, up to its comma
# Each scan of a progressive JPEG goes over all pixels; cameras write a dozen.
_SCANS_OF_THE_LARGEST = 20
# As long as a JPEG's can be. Squeezing a line of 16 million pixels holds up all threads for half a second.
_LONGEST_SIDE = 65_535
_START_OF_SCAN = b"\xff\xda"
# A picture of 16 megapixels takes up to 360 MB while it is decoded, so only this many are decoded at a time.
_DECODERS = ThreadPoolExecutor(2, thread_name_prefix="decode")


async def read_picture(url: str, options: ServeOptions, param: str, size: int | None = None) -> Image:
    """The picture behind a `data:` URL, or behind an https URL of a host in `options.remote_hosts`.

    With `size`, the model's picture size, the Image holds uint8 pixels [size, size, 3], squeezed as the engine does
    it; without, the encoded bytes. `param` names the place in the request, as `messages[0].content[1]`.
    Raises Refusal: 400 for what is no such picture, 413 for too many bytes or pixels, 502 and 504 for remote hosts.
    """
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        data = _data_url(url, options, param)
    elif scheme.startswith("https:") and options.remote_hosts:
        from kosmos.serving.remote_pictures import fetch_picture

        data = await fetch_picture(url, options, param)
    else:
        raise Refusal(400, f"{param}: {_wanted(options)}", code="invalid_image_url", param=param)
    return await asyncio.get_running_loop().run_in_executor(_DECODERS, checked_picture, data, options, param, size)


def checked_picture(data: bytes, options: ServeOptions, param: str, size: int | None = None) -> Image:
    """The Image of an encoded picture within the limits, after decoding it once. Raises Refusal (400, 413)."""
    check_size(data, options, param)
    try:
        picture = decode_image(data, options.max_image_pixels / 1e6)
    except ImageError as error:
        reason = str(error).removeprefix("picture from bytes: ")
        raise Refusal(400, f"{param}: {reason}", code="invalid_image", param=param) from error
    return Image(data) if size is None else Image(preprocess(picture, size, training=False).transpose(1, 2, 0))


def check_size(data: bytes, options: ServeOptions, param: str) -> None:
    """Read kind and size in the header, without a decoder. Raises Refusal (400, 413)."""
    if len(data) > options.max_image_bytes:
        _refuse_bytes(len(data), options, param)
    size = header_size(data)
    if size is None:
        raise Refusal(
            400,
            f"{param}: not a PNG, JPEG, WEBP or GIF picture, or cut short in its header; convert it to one of these",
            code="invalid_image",
            param=param,
        )
    width, height = size
    if width < 1 or height < 1:
        raise Refusal(400, f"{param}: a picture of {width} x {height} pixels", code="invalid_image", param=param)
    if max(width, height) > _LONGEST_SIDE:
        raise Refusal(
            413,
            f"{param}: {width} x {height} pixels: a side is over the limit of {_LONGEST_SIDE}; cut it",
            code="image_too_large",
            param=param,
        )
    if width * height > options.max_image_pixels:
        raise Refusal(
            413,
            f"{param}: {width} x {height} pixels are over the limit of {options.max_image_pixels}; make it smaller",
            code="image_too_large",
            param=param,
        )
    scans = data.count(_START_OF_SCAN) if kind_of(data) == "JPEG" else 1
    if scans * width * height > _SCANS_OF_THE_LARGEST * options.max_image_pixels:
        raise Refusal(
            413,
            f"{param}: a JPEG of {scans} scans of {width} x {height} pixels would take too long; save it anew",
            code="image_too_large",
            param=param,
        )


def _data_url(url: str, options: ServeOptions, param: str) -> bytes:
    """The bytes of `data:image/...;base64,...`, decoded strictly. Raises Refusal."""
    head, comma, _ = url[: _LONGEST_HEAD + 1].partition(",")
    if not comma:
        raise Refusal(400, f"{param}: {_wanted(options)}", code="invalid_image_url", param=param)
    media, *parameters = head[len("data:") :].lower().split(";")
    if media not in _MEDIA_TYPES or parameters != ["base64"]:
        raise Refusal(
            400,
            f"{param}: a data: URL of a picture starts with data:image/png;base64, (or jpeg, webp, gif)",
            code="invalid_image_url",
            param=param,
        )
    length = len(url) - len(head) - 1
    if length // 4 * 3 > options.max_image_bytes + 2:  # before anything is decoded
        _refuse_bytes(length // 4 * 3, options, param)
    if length % 4 or not _BASE64.fullmatch(url, len(head) + 1):
        raise Refusal(
            400, f"{param}: the data: URL is no whole base64 (A-Z a-z 0-9 + / =)", code="invalid_base64", param=param
        )
    data = base64.b64decode(url[len(head) + 1 :])
    if kind_of(data) not in (None, _MEDIA_TYPES[media]):
        raise Refusal(
            400,
            f"{param}: the data: URL says {media}, its bytes are {kind_of(data)}",
            code="invalid_image",
            param=param,
        )
    return data


def _refuse_bytes(length: int, options: ServeOptions, param: str) -> None:
    raise Refusal(
        413,
        f"{param}: a picture of {length} bytes is over the limit of {options.max_image_bytes}; make it smaller",
        code="image_too_large",
        param=param,
    )


def _wanted(options: ServeOptions) -> str:
    if options.remote_hosts:
        return "a picture is a data: URL, or an https: URL of " + ", ".join(options.remote_hosts)
    return "a picture is a data: URL (data:image/png;base64,...); this server fetches nothing"
