"""Answers in OpenAI's JSON: usage, reasons, log-probabilities."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from kosmos.inference.generation import FinishReason
from kosmos.serving.asks import TokenScore
from kosmos.serving.token_text import token_text
from kosmos.tokenizer import Tokenizer


def new_id(kind: str) -> str:
    """A name for an answer that no other has."""
    return f"{kind}-{secrets.token_hex(12)}"


def reason(made: FinishReason) -> str:
    """OpenAI knows no difference between `</s>` and a stop string."""
    return "length" if made == "length" else "stop"


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def chat_logprobs(tokenizer: Tokenizer, tokens: Iterable[TokenScore]) -> dict[str, Any]:
    """`logprobs` of a chat's choice."""
    content = [
        {
            **_named(tokenizer, token.token_id, token.log_prob or 0.0),
            "top_logprobs": [_named(tokenizer, other, value) for other, value in token.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(tokenizer: Tokenizer, tokens: Sequence[TokenScore], top: int, offset: int) -> dict[str, Any]:
    """`logprobs` of a completion's choice; `offset` is added to the places in the text."""
    return {
        "tokens": [token_text(tokenizer, token.token_id) for token in tokens],
        "token_logprobs": [token.log_prob for token in tokens],
        "top_logprobs": [_best(tokenizer, token) for token in tokens] if top else None,
        "text_offset": [offset + token.start for token in tokens],
    }


def _named(tokenizer: Tokenizer, token: int, log_prob: float) -> dict[str, Any]:
    text = token_text(tokenizer, token)
    return {"token": text, "logprob": log_prob, "bytes": list(text.encode())}


def _best(tokenizer: Tokenizer, token: TokenScore) -> dict[str, float] | None:
    """The most probable tokens and the one that is there; None where nothing was predicted."""
    if token.log_prob is None:
        return None
    best = {token_text(tokenizer, other): value for other, value in token.top}
    return {**best, token_text(tokenizer, token.token_id): token.log_prob}
