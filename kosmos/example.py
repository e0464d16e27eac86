"""Example: one item of a task before a template turns it into a Document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kosmos.document import Document, End, Image, Text


@dataclass(frozen=True)
class Example:
    """`fields` holds what the template needs (question, answer, ...), `images` the pictures in order.

    `cluster` groups items that are not independent (questions on one picture) for the statistics.
    """

    id: str
    fields: Mapping[str, Any]
    images: tuple[Image, ...] = ()
    cluster: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


def split_answer(document: Document) -> tuple[Document, str]:
    """Split a templated Document into its prompt and the supervised text at its end (the scored span)."""
    segments = list(document)
    answer: list[str] = []
    while segments and isinstance(segments[-1], Text | End) and segments[-1].supervised:
        last = segments.pop()
        if isinstance(last, Text):
            answer.insert(0, last.text)
    return Document(*segments), "".join(answer)
