"""Requests of every kind, each with the answer that the engine gives when it is asked that one alone."""

from __future__ import annotations

import base64
import io
import random
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import PIL.Image

from kosmos.chat_format import chat_document
from kosmos.document import Document, Image, Segment, Text
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from tests.inference.tiny import WORDS

Kind = Literal["chat", "pictures", "streamed", "completion", "drawn", "beams", "score"]
KINDS: tuple[Kind, ...] = ("chat", "pictures", "streamed", "completion", "drawn", "beams", "score")
CHAT, COMPLETIONS, SCORE = "/v1/chat/completions", "/v1/completions", "/v1/score"
TOLERANCE = 1e-3  # of sums of log-probabilities: other rows in the batch change the last digits
MOST_TOKENS = 48


@dataclass(frozen=True)
class Question:
    """`right`: the text of the answer, or the sums of the candidates' log-probabilities."""

    kind: Kind
    path: str
    body: dict[str, Any]
    right: str | list[float]

    def check(self, answer: dict[str, Any]) -> str | None:
        """What is wrong with a whole answer; None: nothing."""
        if isinstance(self.right, list):
            sums = [result["sum"] for result in answer["results"]]
            close = np.allclose(sums, self.right, rtol=0, atol=TOLERANCE)
            return None if close else f"score: {sums}, not {self.right}"
        choice = answer["choices"][0]
        return self.check_text(choice["message"]["content"] if self.path == CHAT else choice["text"])

    def check_text(self, text: str) -> str | None:
        return None if text == self.right else f"{self.kind}: {text!r}, not {self.right!r}"

    def check_beginning(self, text: str) -> str | None:
        """The same for a stream that was left half-way."""
        assert isinstance(self.right, str)
        return None if self.right.startswith(text) else f"{self.kind}: {text!r}, no beginning of {self.right!r}"


@dataclass
class Author:
    """Makes questions and asks the engine for the right answers, one at a time, before the server starts."""

    engine: Engine
    random: random.Random
    _pictures: dict[int, bytes] = field(default_factory=dict)

    def question(self, kind: Kind) -> Question:
        match kind:
            case "score":
                return self._score()
            case "chat" | "streamed" | "pictures":
                return self._chat(kind)
        return self._completion(kind)

    def _chat(self, kind: Kind) -> Question:
        parts: list[str | bytes] = [self._words(3, 10)]
        if kind == "pictures" or self.random.random() < 0.2:
            for _ in range(self.random.randint(1, 3)):
                parts += [self._picture(), self._words(1, 4)]
        document = chat_document([("user", _document(parts))], self.engine.processor.chat_format)
        body = {"messages": [{"role": "user", "content": [_part(part) for part in parts]}]}
        if kind == "streamed":
            body["stream"] = True  # type: ignore[assignment]
        return self._decoded(kind, CHAT, body, document, {})

    def _completion(self, kind: Kind) -> Question:
        parts: list[str | bytes] = [self._words(1, 12)]
        if self.random.random() < 0.4:
            parts = [self._words(1, 3), self._picture(), self._words(1, 6)]
            # Beside pictures `<image>` is a place; elsewhere it is text, which other questions show.
            parts = [part.replace("<image>", "image") if isinstance(part, str) else part for part in parts]
        body: dict[str, Any] = {"prompt": "".join(part if isinstance(part, str) else "<image>" for part in parts)}
        pictures = [data_url(part) for part in parts if isinstance(part, bytes)]
        if pictures:
            body["images"] = pictures
        more: dict[str, Any] = {}
        if kind == "drawn":
            more = {"temperature": 0.9, "top_k": 20, "seed": self.random.randrange(1 << 31)}
        elif kind == "beams":
            more = {"num_beams": self.random.randint(2, 5), "length_penalty": self.random.choice((0.0, 1.0, 2.0))}
        return self._decoded(kind, COMPLETIONS, body | more, _document(parts), more)

    def _decoded(
        self, kind: Kind, path: str, body: dict[str, Any], document: Document, more: dict[str, Any]
    ) -> Question:
        count = self.random.randint(2, 16 if kind == "beams" else MOST_TOKENS)
        (made,) = self.engine.generate([document], options=Decoding(max_new_tokens=count, **more))
        return Question(kind, path, body | {"max_tokens": count}, made.text)

    def _score(self) -> Question:
        parts: list[str | bytes] = [self._words(2, 8)]
        if self.random.random() < 0.5:
            parts = [self._picture(), *parts]
        candidates = [self._words(1, 4) for _ in range(self.random.randint(2, 6))]
        spaced = [" " + candidate for candidate in candidates]
        (scores,) = self.engine.score([_document(parts)], spaced)
        body = {"prompt": [_part(part) for part in parts], "candidates": candidates}
        return Question("score", SCORE, body, [score.sum for score in scores])

    def _words(self, least: int, most: int) -> str:
        odd = ("<image>", "</s>", "été", "猫")
        count = self.random.randint(least, most)
        return " ".join(self.random.choice(odd if self.random.random() < 0.05 else WORDS) for _ in range(count))

    def _picture(self) -> bytes:
        """An encoded picture; half of them are of a few that come again."""
        number = self.random.randrange(8 if self.random.random() < 0.5 else 10**6)
        if number not in self._pictures:
            generator = np.random.default_rng(number)
            height, width = (int(side) for side in generator.integers(8, 200, 2))
            pixels = generator.integers(0, 200, 3) + generator.integers(0, 56, (height, width, 3))
            file = io.BytesIO()
            PIL.Image.fromarray(pixels.astype(np.uint8)).save(file, ("PNG", "JPEG", "WEBP")[number % 3])
            self._pictures[number] = file.getvalue()
        return self._pictures[number]


def data_url(data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "webp" if data.startswith(b"RIFF") else "jpeg"
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


def _document(parts: list[str | bytes]) -> Document:
    segments: list[Segment] = [Text(part) if isinstance(part, str) else Image(part) for part in parts]
    return Document(*segments)


def _part(part: str | bytes) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": data_url(part)}}
