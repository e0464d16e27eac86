"""The text of a single token, as log-probabilities name it."""

from __future__ import annotations

from kosmos.tokenizer import Tokenizer

# SentencePiece's mark for the space before a word.
_SPACE = "\u2581"


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """A piece with its space; `</line>` is a newline, other special tokens have their names."""
    if token == tokenizer.line_id:
        return "\n"
    return tokenizer.id_to_piece(token).replace(_SPACE, " ")
