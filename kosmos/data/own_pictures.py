"""Pictures with captions from files, for vision pretraining: one's own, as any reader of pairs gives them."""

from __future__ import annotations

import numpy as np

from kosmos.config import CorpusConfig
from kosmos.data.picture_corpus import PictureCorpus
from kosmos.data.readers import BadRecord, open_reader
from kosmos.document import Document, Image, Text
from kosmos.errors import DataError, ImageError
from kosmos.images import decode_image, preprocess

# Photographs differ by themselves; a cut-out drawing bears to be moved and recoloured more.
_STRENGTH = 0.5
# Mirrored, these would be something else.
_HANDED = ("left", "right")


def open_own_pictures(reader: str, path: str, pictures: int, size: int) -> PictureCorpus:
    """The first `pictures` pairs (0: all) as squares of `size` pixels, in memory: 4 * size * size bytes each.

    Records that are broken, or not one picture with a caption, are passed over. Raises ConfigError for an unknown
    reader, DataError when nothing is left.
    """
    opened = open_reader(CorpusConfig(reader, path), 0)
    images: list[np.ndarray] = []
    captions: list[str] = []
    passed_over = ""
    for shard in opened.shards():
        for record in range(opened.num_records(shard)):
            if pictures and len(images) == pictures:
                break
            found = opened.read(shard, record, 0)
            try:
                pixels, caption = _pair(found, size)
            except (DataError, ImageError) as error:
                passed_over = passed_over or f"{shard} record {record}: {error}"
                continue
            images.append(pixels)
            captions.append(caption)
    if not images:
        raise DataError(f"{path}: no picture with a caption in it{f'; {passed_over}' if passed_over else ''}")
    flip = np.array([not any(word in caption.lower() for word in _HANDED) for caption in captions])
    return PictureCorpus(np.stack(images), tuple(captions), strength=_STRENGTH, flip=flip)


def _pair(found: Document | BadRecord, size: int) -> tuple[np.ndarray, str]:
    """RGBA [size, size, 4], opaque, and the caption."""
    if isinstance(found, BadRecord):
        raise DataError(f"{found.why} {found.detail}".strip())
    images = [segment for segment in found if isinstance(segment, Image)]
    caption = " ".join(segment.text.strip() for segment in found if isinstance(segment, Text))
    if len(images) != 1 or not caption:
        raise DataError("not one picture with a caption")
    pixels = preprocess(decode_image(images[0]), size, training=True).transpose(1, 2, 0)
    return np.concatenate((pixels, np.full((size, size, 1), 255, dtype=np.uint8)), axis=2), caption
