"""Prompts that are text alone: the shape that the language tasks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kosmos.document import Document, Text
from kosmos.evaluation.benchmark import Normalization, Prompt
from kosmos.example import Example

END = "</s>"
# lm-eval's own between demonstrations: a blank line.
BLANK_LINE = "\n\n"


def text_document(words: str) -> Document:
    """A Document of one unsupervised text."""
    return Document(Text(words, supervised=False))


def label_of(example: Example) -> int:
    return int(example.fields["label"])


def choice_prompt(
    name: str,
    context: Callable[[Example], str],
    candidates: Callable[[Example], Sequence[str]],
    *,
    normalization: Normalization = "per_token",
    separator: str = END,
    note: str = "",
) -> Prompt:
    """One context, several answers (each with the space before it); the right one is that of the label."""
    return Prompt(
        name,
        context=lambda example: text_document(context(example)),
        answer=lambda example: candidates(example)[label_of(example)],
        candidates=candidates,
        normalization=normalization,
        separator=separator,
        note=note,
    )


def partial_prompt(
    name: str,
    contexts: Callable[[Example], Sequence[str]],
    answer: Callable[[Example], str],
    *,
    normalization: Normalization = "per_token",
    separator: str = END,
    note: str = "",
) -> Prompt:
    """Partial scoring: the same words behind each option; a demonstration shows the right one."""
    return Prompt(
        name,
        context=lambda example: text_document(contexts(example)[label_of(example)]),
        answer=answer,
        contexts=lambda example: [text_document(words) for words in contexts(example)],
        normalization=normalization,
        separator=separator,
        note=note,
    )
