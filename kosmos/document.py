"""Document: the one way to say text and images in order.

A Document is an immutable sequence of segments. Each segment belongs to a modality (text and images are built in,
others are registered in `kosmos.modality`). Training samples, prompts, demonstrations, chat turns and evaluation
items are all Documents. Equality and hashing go by content, never by where the content came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kosmos.errors import DataError, UsageError


class Segment:
    """One piece of a Document. Subclasses name their `modality` and say what their content is.

    `supervised` marks whether the segment's tokens count in the training loss; only text can be supervised.
    """

    modality: ClassVar[str]
    supervised: bool

    def content(self) -> bytes:
        """Canonical bytes of the content; equality and hashes are made from it."""
        raise NotImplementedError

    @cached_property
    def sha256(self) -> str:
        """Hash of modality and content, in hexadecimal."""
        return hashlib.sha256(self.modality.encode() + b"\0" + self.content()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segment):
            return NotImplemented
        return self.sha256 == other.sha256 and self.supervised == other.supervised

    def __hash__(self) -> int:
        return hash((self.sha256, self.supervised))


@dataclass(frozen=True, eq=False)
class Text(Segment):
    """A piece of text. A newline in it becomes the token `</line>`."""

    text: str
    supervised: bool = True
    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise UsageError(f"Text takes a str, not {type(self.text).__name__}")

    def content(self) -> bytes:
        return self.text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, eq=False)
class End(Segment):
    """An explicit `</s>` inside a Document, as between text demonstrations. The closing one is implied."""

    supervised: bool = True
    modality: ClassVar[str] = "end"

    def content(self) -> bytes:
        return b""


@dataclass(frozen=True, eq=False)
class Image(Segment):
    """A picture: encoded bytes, a path, a PIL image, or an array [height, width, 3] of uint8.

    Files are read when first needed and decoded by `kosmos.images`. Bytes and a path with the same bytes are equal;
    so are a PIL image and an array with the same pixels.
    """

    source: Any
    supervised: bool = False
    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        if self.supervised:
            raise UsageError("an image cannot be supervised: only discrete tokens count in the loss")

    @property
    def where(self) -> str:
        """How to name this picture in a message."""
        if isinstance(self.source, str | Path):
            return str(self.source)
        return f"<{type(self.source).__name__}>"

    @cached_property
    def data(self) -> bytes | None:
        """The encoded file's bytes, or None when the source is pixels already."""
        if isinstance(self.source, bytes | bytearray | memoryview):
            return bytes(self.source)
        if isinstance(self.source, str | Path):
            try:
                return Path(self.source).read_bytes()
            except OSError as error:
                reason = error.strerror or str(error)
                raise DataError(f"{self.source}: cannot read the picture: {reason}") from error
        return None

    def content(self) -> bytes:
        if self.data is not None:
            return self.data
        if isinstance(self.source, np.ndarray):
            pixels = self.source
        else:  # a PIL image
            pixels = np.asarray(self.source if self.source.mode == "RGB" else self.source.convert("RGBA"))
        pixels = np.ascontiguousarray(pixels)
        return f"{pixels.shape}{pixels.dtype}".encode() + pixels.tobytes()


class Document:
    """An immutable sequence of segments; plain strings become supervised `Text`."""

    __slots__ = ("_segments",)
    _segments: tuple[Segment, ...]

    def __init__(self, *segments: Segment | str) -> None:
        made: list[Segment] = []
        for segment in segments:
            if isinstance(segment, str):
                made.append(Text(segment))
            elif isinstance(segment, Segment):
                made.append(segment)
            else:
                raise UsageError(f"a Document takes segments or str, not {type(segment).__name__}")
        object.__setattr__(self, "_segments", tuple(made))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Document is immutable; build a new one with `+`")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Document is immutable")

    def __reduce__(self) -> tuple[Any, ...]:
        return Document, self._segments

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self._segments

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    def __getitem__(self, index: int) -> Segment:
        return self._segments[index]

    def __add__(self, other: Document | Segment | str) -> Document:
        if isinstance(other, Document):
            return Document(*self._segments, *other._segments)
        return Document(*self._segments, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Document) and self._segments == other._segments

    def __hash__(self) -> int:
        return hash(self._segments)

    def __repr__(self) -> str:
        parts = [repr(s.text) if isinstance(s, Text) else f"<{s.modality}>" for s in self._segments]
        return f"Document({', '.join(parts)})"

    @property
    def sha256(self) -> str:
        """Hash of the whole content, in hexadecimal."""
        marks = "".join(f"{s.sha256}{int(s.supervised)};" for s in self._segments)
        return hashlib.sha256(marks.encode()).hexdigest()

    @property
    def text(self) -> str:
        """The text segments joined; other segments leave no trace."""
        return "".join(s.text for s in self._segments if isinstance(s, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(s for s in self._segments if isinstance(s, Image))

    def unsupervised(self) -> Document:
        """The same content with nothing supervised: what a prompt is."""
        return Document(*(_unsupervised(segment) for segment in self._segments))


def _unsupervised(segment: Segment) -> Segment:
    if isinstance(segment, Text):
        return Text(segment.text, supervised=False)
    if isinstance(segment, End):
        return End(supervised=False)
    return segment
