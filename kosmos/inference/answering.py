"""Answering the requests of a file, batch by batch: which go together, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from kosmos.errors import DataError, UsageError
from kosmos.inference.engine import Engine
from kosmos.inference.requests import BadRequest, Request, key_of

Options = TypeVar("Options")
Answer = dict[str, Any]

# Batches that are sorted by length together. A batch is a part of one window, so a file of any length begins at once.
_WINDOW = 16


def answer_batches(
    requests: Sequence[Request[Options] | BadRequest],
    ask: Callable[[list[Request[Options]]], Sequence[Mapping[str, Any]]],
    *,
    length: Callable[[Request[Any]], int],
    batch_size: int,
    answered: Collection[str] = (),
) -> Iterator[list[tuple[int, Answer]]]:
    """(place in `requests`, {"id": ...} and what `ask` made of it), a batch at a time; bad lines come first.

    `length` says about how long a prompt is; those of similar length go together. Requests whose key is in `answered`
    are left out and change nothing in the batches of the others. A request that cannot be asked (a picture that is
    none, a prompt too long) becomes {"id": ..., "error": ...}; the others of its batch are asked without it.
    """
    left = [place for place, request in enumerate(requests) if key_of(request.id) not in answered]
    bad = [(place, request) for place in left if isinstance(request := requests[place], BadRequest)]
    if bad:
        yield [(place, {"id": request.id, "error": request.error}) for place, request in bad]
    wanted = set(left)
    good = [(place, request) for place, request in enumerate(requests) if isinstance(request, Request)]
    for first in range(0, len(good), batch_size * _WINDOW):
        window = good[first : first + batch_size * _WINDOW]
        if any(place in wanted for place, _ in window):
            for batch in _batches(window, length, batch_size):
                if chosen := [item for item in batch if item[0] in wanted]:
                    yield _ask(ask, chosen)


def _batches(
    window: list[tuple[int, Request[Options]]], length: Callable[[Request[Any]], int], batch_size: int
) -> Iterator[list[tuple[int, Request[Options]]]]:
    """The window's requests, of similar length together.

    Long and short batches come in turns, so that the time that has gone tells the time that is left.
    """
    ordered = sorted(window, key=lambda item: (-length(item[1]), item[0]))
    made = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    while made:
        yield made.pop(0)  # the longest: what does not fit into memory shows at once
        if made:
            yield made.pop()


def prompt_length(engine: Engine, request: Request[Any]) -> int:
    """Tokens of the prompt, about; no picture is read for it."""
    resampler = engine.model.config.resampler
    texts = [part for part in request.parts if isinstance(part, str)]
    pictures = len(request.parts) - len(texts)
    return len(engine.processor.tokenizer.encode("".join(texts))) + pictures * (resampler.num_latents + 2)


def _ask(
    ask: Callable[[list[Request[Options]]], Sequence[Mapping[str, Any]]], batch: list[tuple[int, Request[Options]]]
) -> list[tuple[int, Answer]]:
    try:
        made = ask([request for _, request in batch])
    except (DataError, UsageError) as error:
        if len(batch) == 1:
            place, request = batch[0]
            return [(place, {"id": request.id, "error": str(error)})]
        half = len(batch) // 2
        return _ask(ask, batch[:half]) + _ask(ask, batch[half:])
    return [(place, {"id": request.id, **answer}) for (place, request), answer in zip(batch, made, strict=True)]
