"""What every caption metric starts from: the tokens of the answers and of their references."""

from __future__ import annotations

from collections.abc import Sequence

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered
from kosmos.evaluation.metrics.ptb_tokenizer import ptb_tokenize


def tokenize_captions(answered: Sequence[Answered]) -> tuple[list[str], list[list[str]]]:
    """Tokenized predictions, and the tokenized references of each. Raises DataError for a picture without any."""
    if not answered:
        raise UsageError("a caption metric needs at least one caption")
    predictions = ptb_tokenize(item.prediction.replace("\n", " ") for item in answered)
    return predictions, tokenize_references([item.answers for item in answered], [item.id for item in answered])


def tokenize_references(references: Sequence[Sequence[str]], ids: Sequence[str] = ()) -> list[list[str]]:
    """The tokenized references of each picture."""
    for index, captions in enumerate(references):
        if not captions:
            where = f"picture {ids[index]}" if ids else f"picture number {index}"
            raise DataError(f"{where} has no reference caption: caption metrics need at least one")
    return [ptb_tokenize(caption.replace("\n", " ") for caption in captions) for captions in references]
