"""Prompts with a picture before the words: the shape that most picture tasks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kosmos.document import Document, Text
from kosmos.evaluation.benchmark import Normalization, Prompt
from kosmos.evaluation.tasks.text_prompts import label_of
from kosmos.example import Example


def picture_document(example: Example, words: str) -> Document:
    """The example's pictures, then words; nothing supervised."""
    return Document(*example.images, Text(words, supervised=False))


def free_prompt(
    name: str,
    words: Callable[[Example], str],
    answer: Callable[[Example], str],
    *,
    stop: tuple[str, ...] = (),
    note: str = "",
) -> Prompt:
    """Picture and words, then a free answer; `answer` is what a demonstration shows, without the space before it."""
    return Prompt(
        name,
        context=lambda example: picture_document(example, words(example)),
        answer=lambda example: f" {answer(example)}",
        stop=stop,
        note=note,
    )


def picture_choice_prompt(
    name: str,
    words: Callable[[Example], str],
    candidates: Sequence[str],
    *,
    rationale: Callable[[Example], Document] | None = None,
    keep_picture: bool = True,
    normalization: Normalization = "per_token",
    note: str = "",
) -> Prompt:
    """Picture and words, then one of the candidates (each with the space before it), in the order of the labels."""

    def context(example: Example) -> Document:
        if keep_picture:
            return picture_document(example, words(example))
        return Document(Text(words(example), supervised=False))

    return Prompt(
        name,
        context=context,
        answer=lambda example: candidates[label_of(example)],
        candidates=lambda example: candidates,
        normalization=normalization,
        rationale=rationale,
        note=note,
    )


def one_line(text: str) -> str:
    """The text with single spaces only: a line break would become the token `</line>`."""
    return " ".join(text.split())
