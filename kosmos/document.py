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
from typing import Any, ClassVar, overload

import numpy as np
import PIL.Image

from kosmos.errors import ImageError, UsageError


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


@dataclass(frozen=True, eq=False, repr=False)
class Image(Segment):
    """A picture: encoded bytes, a path, a PIL image, or a uint8 array [height, width, 3].

    Files are read when first needed and decoded by `kosmos.images`. Pixels are copied, so that later changes to the
    array or PIL image do not reach the Document. Bytes and a path with the same bytes are equal; so are an RGB PIL
    image and an array with the same pixels. Raises UsageError for any other source.
    """

    source: Any
    supervised: bool = False
    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        if self.supervised:
            raise UsageError("an image cannot be supervised: only discrete tokens count in the loss")
        object.__setattr__(self, "source", _frozen_source(self.source))

    def __repr__(self) -> str:
        return f"Image({self.where})"

    @property
    def where(self) -> str:
        """How to name this picture in a message: its path, or what it was given as."""
        if isinstance(self.source, str | Path):
            return str(self.source)
        return f"picture from {type(self.source).__name__}"

    @cached_property
    def data(self) -> bytes | None:
        """The encoded file's bytes, or None when the source is pixels already. Raises ImageError."""
        if isinstance(self.source, bytes):
            return self.source
        if isinstance(self.source, str | Path):
            try:
                return Path(self.source).read_bytes()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise ImageError(f"{self.source}: cannot read the picture: {reason}") from error
        return None

    def content(self) -> bytes:
        if self.data is not None:
            return self.data
        if isinstance(self.source, np.ndarray):
            return _pixel_content(self.source)
        if self.source.mode == "RGB" and "transparency" not in self.source.info:
            return _pixel_content(np.asarray(self.source))
        mode, palette, transparency = self.source.mode, self.source.getpalette(), self.source.info.get("transparency")
        return f"{mode}{self.source.size}{palette}{transparency}".encode() + self.source.tobytes()


def _frozen_source(source: Any) -> Any:
    if isinstance(source, bytes | str | Path):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise UsageError(
                f"an image array is uint8 [height, width, 3], not {source.dtype} {list(source.shape)}; convert it first"
            )
        if source.flags.writeable or source.base is not None or not source.flags.c_contiguous:
            source = source.copy(order="C")
            source.flags.writeable = False
        return source
    if isinstance(source, PIL.Image.Image):
        try:
            return source.copy()
        except Exception as error:  # Pillow's decoders raise many kinds for damaged files
            raise ImageError(f"PIL image: cannot decode it: {error}; open the file again, or give its path") from error
    raise UsageError(f"an Image takes bytes, a path, a PIL image or an array, not {type(source).__name__}")


def _pixel_content(pixels: np.ndarray) -> bytes:
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

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> Document: ...
    def __getitem__(self, index: int | slice) -> Segment | Document:
        return Document(*self._segments[index]) if isinstance(index, slice) else self._segments[index]

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
