"""Small stand-ins for tokenizer and processor: one token a word, so that expected rows can be written by hand."""

from __future__ import annotations

import numpy as np

from kosmos.batch import Sequence, SlotInput
from kosmos.document import Document, Image, Text
from kosmos.errors import ImageError


class WordTokenizer:
    """Ids of words; `.` ends a sentence, `/` stands for a line's end. Words are w0, w1, ... with ids from 10."""

    bos_id, pad_id, eos_id, unk_id = 0, 1, 2, 3
    slot_id, image_id, image_end_id, line_id, dot_id = 4, 5, 6, 7, 8
    vocab_size = 4096

    def id_to_piece(self, token: int, /) -> str:
        special = {0: "<s>", 1: "<pad>", 2: "</s>", 4: "<mask>", 5: "<image>", 6: "</image>", 7: "</line>", 8: "."}
        return special.get(token, f"▁w{token - 10}")

    def encode(self, text: str) -> list[int]:
        names = {".": self.dot_id, "/": self.line_id}
        return [names[word] if word in names else 10 + int(word[1:]) for word in text.split()]


class WordProcessor:
    """Encodes text by words and a picture as 3 slots; an image of bytes b"broken" cannot be decoded."""

    num_slots = 3

    def __init__(self) -> None:
        self.tokenizer = WordTokenizer()

    def pixels(self, image: Image) -> np.ndarray:
        """uint8 [3, 2, 2]: the first byte, everywhere."""
        if image.data == b"broken":
            raise ImageError("cannot decode the picture")
        return np.full((3, 2, 2), image.data[0] if image.data else 0, np.uint8)

    def encode(self, document: Document, *, training: bool = False, start: bool = True, end: bool = True) -> Sequence:
        t = self.tokenizer
        ids: list[int] = [t.bos_id] if start else []
        supervised = [False] * len(ids)
        inputs = []
        for segment in document:
            if isinstance(segment, Image):
                features = self.pixels(segment)
                inputs.append(SlotInput("image", len(ids) + 1, self.num_slots, features))
                ids += [t.image_id, *[t.slot_id] * self.num_slots, t.image_end_id]
                supervised += [False] * (self.num_slots + 2)
            elif isinstance(segment, Text):
                words = t.encode(segment.text)
                ids += words
                supervised += [segment.supervised] * len(words)
        if end:
            ids.append(t.eos_id)
            supervised.append(True)
        return Sequence(np.array(ids, np.int64), np.array(supervised, bool), tuple(inputs))
