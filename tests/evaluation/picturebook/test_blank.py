from __future__ import annotations

import io

import numpy as np
import PIL.Image

from kosmos.document import Document, Image, Text
from kosmos.evaluation.picturebook.blank import blank_images


def white(height: int, width: int) -> Image:
    return Image(np.full((height, width, 3), 255, dtype=np.uint8))


def test_every_picture_becomes_white_at_its_own_size_and_the_text_stays() -> None:
    buffer = io.BytesIO()
    PIL.Image.new("RGBA", (7, 5), (200, 10, 10, 30)).save(buffer, "PNG")
    document = Document(
        Text("a", supervised=False),
        Image(np.zeros((4, 6, 3), dtype=np.uint8)),
        "b",
        Image(buffer.getvalue()),
        Image(PIL.Image.new("L", (3, 2))),
    )
    assert blank_images(document) == Document(Text("a", supervised=False), white(4, 6), "b", white(5, 7), white(2, 3))


def test_a_document_without_pictures_stays_as_it_is() -> None:
    assert blank_images(Document("only text")) == Document("only text")
