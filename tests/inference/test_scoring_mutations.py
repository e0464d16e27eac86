"""Errors planted in scoring are seen by the comparison with one plain pass for each candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from torch import Tensor

from kosmos.document import Document, Text
from kosmos.inference import scoring
from kosmos.inference.engine import Engine
from tests.inference.oracle import PICTURES
from tests.inference.test_scoring import CANDIDATES, assert_close, plain_score

PROMPTS = [Document("Question: what is it? Answer:"), Document(PICTURES[0], "an image of")]
real_continuation, real_first, real_add = scoring.continuation_ids, scoring._score_first_tokens, scoring._Tree.add


def agrees(engine: Engine) -> None:
    for end in (False, True):
        made = engine.score(PROMPTS, [CANDIDATES] * 2, include_end=end)
        for prompt, scores in zip(PROMPTS, made):
            assert_close(scores, [plain_score(engine.model, engine.processor, prompt, c, end) for c in CANDIDATES])


def shifted_by_one(tree: Any, work: Any) -> None:
    """The logits at a token are read for that token, not for the one that follows it."""
    before = len(tree.targets)
    real_add(tree, work)
    tree.targets[before:] = [(place, tree.tokens[place], one) for place, _, one in tree.targets[before:]]


def last_token_left_out(tree: Any, work: Any) -> None:
    real_add(tree, work)
    tree.targets.pop()


def first_of_the_next(log_probs: Tensor, works: Sequence[Sequence[Any]]) -> None:
    """Every prompt's first tokens by the logits of the other prompt."""
    real_first(log_probs.roll(1, 0), works)


def without_first(log_probs: Tensor, works: Sequence[Sequence[Any]]) -> None:
    real_first(log_probs, works)
    for row in works:
        for work in row:
            work.sum = 0.0


def tokenized_alone(engine: Engine, tail: Sequence[Text], text: str, include_end: bool) -> list[int]:
    return list(real_continuation(engine, [], text.strip(), include_end))


def never_an_end(engine: Engine, tail: Sequence[Text], text: str, include_end: bool) -> list[int]:
    return list(real_continuation(engine, tail, text, False))


MUTATIONS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "shifted by one": (scoring._Tree, "add", shifted_by_one),
    "last token left out": (scoring._Tree, "add", last_token_left_out),
    "another prompt's logits": (scoring, "_score_first_tokens", first_of_the_next),
    "first token left out": (scoring, "_score_first_tokens", without_first),
    "space before the answer lost": (scoring, "continuation_ids", tokenized_alone),
    "</s> dropped": (scoring, "continuation_ids", never_an_end),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_planted_error_is_seen(what: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    agrees(engine)
    monkeypatch.setattr(*MUTATIONS[what])
    with pytest.raises(AssertionError):
        agrees(engine)
