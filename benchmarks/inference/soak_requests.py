"""What the soak asks for: prompts and options, drawn at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from kosmos.document import Document, End, Image, Segment, Text
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from tests.inference.tiny import WORDS


class RandomRequests:
    """Prompts that fit the engine's model, and ways to continue them; all draws are of one generator."""

    def __init__(self, engine: Engine, generator: random.Random) -> None:
        self.engine = engine
        self.random = generator

    def document(self, most: int = 6) -> Document:
        """Text, pictures old and new, closing tokens, nothing at all, in any order."""
        return self.fitting(lambda: Document(*(self._segment() for _ in range(self.random.randint(0, most)))))

    def fitting(self, make: Callable[[], Document]) -> Document:
        """One that leaves room for the longest answer asked for here."""
        while self._length(document := make()) > self.engine.max_length - 40:
            pass
        return document

    def _segment(self) -> Segment:
        kind = self.random.random()
        if kind < 0.25:
            # Half of the pictures are of a few that come again; the caches see both.
            number = self.random.randrange(8 if self.random.random() < 0.5 else 10**6)
            generator = np.random.default_rng(number)
            colour = generator.integers(0, 200, 3)
            return Image((colour + generator.integers(0, 56, (16, 16, 3))).astype(np.uint8))
        if kind < 0.32:
            return End()
        return Text(self.words(self.random.randint(0, 6)))

    def words(self, count: int) -> str:
        odd = ("<image>", "été", "猫", "\n", "x", "</s>")
        return " ".join(self.random.choice(odd if self.random.random() < 0.1 else WORDS) for _ in range(count))

    def long_document(self, num_tokens: int) -> Document:
        """A prompt of exactly so many tokens."""
        length = self._length(document := self.document(3))
        while length < num_tokens:
            document = document + End()  # a token each, whatever stands before it
            length += 1
            if num_tokens - length > 4 and self.random.random() < 0.5:
                document = document + self.words(1)
                length = self._length(document)
        return document if length == num_tokens else Document(*[End()] * (num_tokens - 1))

    def _length(self, document: Document) -> int:
        return len(self.engine.processor.encode(document.unsupervised(), end=False))

    def documents(self, most: int = 4) -> list[Document]:
        """A few prompts; now and then they begin alike."""
        count = self.random.randint(1, most)
        if count > 1 and self.random.random() < 0.3:
            shared = self.fitting(lambda: self.document(3) + self.words(20))
            return [self.fitting(lambda: shared + self.words(self.random.randint(0, 2))) for _ in range(count)]
        return [self.document() for _ in range(count)]

    def decoding(self, **fixed: Any) -> Decoding:
        new = self.random.randint(1, 12)
        least = self.random.randint(0, new) if self.random.random() < 0.3 else 0
        stop = (self.random.choice(WORDS),) if self.random.random() < 0.2 else ()
        return Decoding(new, least, stop=stop, **fixed)

    def drawing(self, num_results: int = 1) -> Decoding:
        return self.decoding(
            temperature=self.random.choice([0.3, 1.0, 2.0]),
            top_k=self.random.choice([0, 1, 5]),
            top_p=self.random.choice([1.0, 0.9, 0.5]),
            seed=self.random.randrange(10**6),
            num_results=num_results,
        )

    def beaming(self) -> Decoding:
        beams = self.random.randint(2, 5)
        return self.decoding(
            num_beams=beams,
            length_penalty=self.random.choice([-1.0, 0.0, 0.6, 1.0, 2.0]),
            early_stopping=self.random.choice([False, True, "never"]),
            num_results=self.random.randint(1, beams),
        )
