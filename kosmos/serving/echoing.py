"""The log-probabilities of a prompt's own tokens, as an event."""

from __future__ import annotations

from kosmos.inference.engine import Engine
from kosmos.inference.prompt_log_probs import prompt_log_probs
from kosmos.serving.asks import Ask, PromptScored, TokenScore


def echo(engine: Engine, ask: Ask) -> None:
    """Tell the tokens of the prompt; nothing more than that it was looked at when no log-probabilities are wanted."""
    if ask.top is None:
        ask.listener(PromptScored(()))
        return
    told = []
    for token, found in zip(ask.row.token_ids.tolist(), prompt_log_probs(engine, ask.row, ask.top)):
        log_prob, top = (None, ()) if found is None else found
        told.append(TokenScore(token, log_prob, 0, top))  # its place is found in the request's own text
    ask.listener(PromptScored(tuple(told)))
