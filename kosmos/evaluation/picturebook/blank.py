"""The blank-image control: the same question with every picture replaced by a white one of its size.

White is the ground of the tests' pictures, so an empty one is nothing strange to the model. What it still scores then,
it scores without looking.
"""

from __future__ import annotations

import numpy as np

from kosmos.document import Document, Image, Segment
from kosmos.images import decode_image

WHITE = 255


def blank_images(document: Document) -> Document:
    """The same Document with every image replaced by a white one of the same height and width."""
    return Document(*(_blank(segment) for segment in document))


def _blank(segment: Segment) -> Segment:
    if not isinstance(segment, Image):
        return segment
    if isinstance(segment.source, np.ndarray):
        height, width = segment.source.shape[:2]
    else:
        width, height = decode_image(segment).size
    return Image(np.full((height, width, 3), WHITE, dtype=np.uint8))
