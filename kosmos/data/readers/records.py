"""Raw records: what a file holds before pictures are fetched or decoded, and the rules that every reader shares."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from kosmos.data.readers import BadRecord
from kosmos.document import Document, Image, Segment, Text

Kind = Literal["text", "pair", "interleaved", "instruction"]

# Nothing that one row can hold comes near this; it keeps a damaged or hostile file from filling the memory.
MAX_RECORD_BYTES = 1 << 28

# CC12M writes <PERSON> where names stood; the paper drops such captions.
_TAG = re.compile(r"<[A-Z][A-Z_]+>")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class RawRecord:
    """One record. `texts` and `images` have one length, and exactly one of the two is not None at each place.

    An image is its encoded bytes, or the URL where it is to be had. `meta` is what else the file says about the record.
    `supervised` has one entry for each place; empty means that all texts are supervised.
    """

    where: str
    kind: Kind
    texts: tuple[str | None, ...]
    images: tuple[str | bytes | None, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    supervised: tuple[bool, ...] = ()


def to_document(raw: RawRecord) -> Document:
    """The Document of a record whose pictures are bytes; blank texts between them are left out."""
    supervised = raw.supervised or (True,) * len(raw.texts)
    segments: list[Segment] = []
    for text, image, counts in zip(raw.texts, raw.images, supervised, strict=True):
        if text is None:
            segments.append(Image(image))
        elif text.strip():
            segments.append(Text(text, supervised=counts))
    return Document(*segments)


def clean_text(value: object) -> str | None:
    """The text of a field, or None when it is no text or not encodable (a lone surrogate)."""
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return value


def decode_text(raw: bytes, where: str) -> str | BadRecord:
    """UTF-8 bytes as text, without a byte order mark and with plain newlines."""
    try:
        text = raw.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        return BadRecord(where, "not utf-8", str(error))
    return text.replace("\r\n", "\n")


def parse_object(raw: bytes, where: str) -> dict[str, Any] | BadRecord:
    """The fields of one JSON object."""
    try:
        fields = json.loads(raw.removeprefix(_BYTE_ORDER_MARK).decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRecord(where, "not utf-8", str(error))
    except (ValueError, RecursionError) as error:
        return BadRecord(where, "bad json", str(error))
    return fields if isinstance(fields, dict) else BadRecord(where, "bad json", "not an object")


def text_record(value: object, where: str, meta: dict[str, Any] | None = None) -> RawRecord | BadRecord:
    """A document of plain text."""
    text = clean_text(value)
    if text is None:
        return BadRecord(where, "no text field")
    if not text.strip():
        return BadRecord(where, "empty text")
    return RawRecord(where, "text", (text,), (None,), meta or {})


def pair_record(
    image: str | bytes, value: object, where: str, meta: dict[str, Any] | None = None
) -> RawRecord | BadRecord:
    """A picture and its caption."""
    caption = clean_text(value)
    if caption is None:
        return BadRecord(where, "no caption")
    if not caption.strip():
        return BadRecord(where, "empty text")
    if tag := _TAG.search(caption):
        return BadRecord(where, "tag in caption", tag[0])
    return RawRecord(where, "pair", (None, caption.strip()), (image, None), meta or {})


def instruction_record(fields: dict[str, Any], where: str) -> RawRecord | BadRecord:
    """`{"instruction", "input", "output"}`; only the output is supervised (paper 3.3).

    The paper gives no format; this is `{instruction} {input}`, a space, and the output.
    """
    instruction = clean_text(fields.get("instruction"))
    given = clean_text(fields.get("input", ""))
    output = clean_text(fields.get("output"))
    if instruction is None or given is None or output is None:
        return BadRecord(where, "no instruction or output field")
    if not instruction.strip() or not output.strip():
        return BadRecord(where, "empty text")
    prompt = f"{instruction.strip()} {given.strip()}".strip()
    texts = (prompt, " " + output.strip())
    return RawRecord(where, "instruction", texts, (None, None), fields, (False, True))


def interleaved_record(
    texts: list[Any], images: list[Any], where: str, meta: dict[str, Any], supervised: list[Any] | None = None
) -> RawRecord | BadRecord:
    """Texts and pictures in reading order, two lists that complement each other; pictures stay as they are given."""
    if len(texts) != len(images):
        return BadRecord(where, "bad json", "texts and images must be lists of one length")
    cleaned: list[str | None] = []
    for text, image in zip(texts, images, strict=True):
        if (text is None) == (image is None):
            return BadRecord(where, "bad json", "each place holds a text or an image")
        if text is not None and clean_text(text) is None:
            return BadRecord(where, "bad json", "a text is no string")
        cleaned.append(text)
    if supervised is not None and (
        len(supervised) != len(texts) or not all(isinstance(entry, bool) for entry in supervised)
    ):
        return BadRecord(where, "bad json", "supervised must hold true or false for each place")
    if not any(image is not None for image in images) and not any(text and text.strip() for text in cleaned):
        return BadRecord(where, "empty text")
    return RawRecord(where, "interleaved", tuple(cleaned), tuple(images), meta, tuple(supervised or ()))
