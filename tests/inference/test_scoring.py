from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.document import Document, Text
from kosmos.errors import UsageError
from kosmos.inference import scoring
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Score
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.inference.oracle import PICTURES, documents, plain_logits

CANDIDATES = [" Yes", " No", " the red cat", "", " two dogs, a green house", "x", " Yes", "\n"]


def plain_score(model: Kosmos, processor: Processor, prompt: Document, candidate: str, end: bool = False) -> Score:
    """One full forward pass over prompt and candidate, encoded together as a training sample is."""
    row = processor.encode(prompt.unsupervised() + Text(candidate), end=end)
    log_probs = plain_logits(model, row).log_softmax(-1)
    scored = [index for index in range(len(row)) if row.supervised[index]]
    total = sum(float(log_probs[index - 1, row.token_ids[index]]) for index in scored)
    return Score(total, len(scored), all(log_probs[index - 1].argmax() == row.token_ids[index] for index in scored))


def assert_close(made: list[Score], expected: list[Score]) -> None:
    assert [score.num_tokens for score in made] == [score.num_tokens for score in expected]
    np.testing.assert_allclose([s.sum for s in made], [s.sum for s in expected], atol=1e-4)
    assert [bool(score.is_greedy) for score in made] == [bool(score.is_greedy) for score in expected]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(document=documents, end=st.booleans())
def test_scores_are_those_of_one_pass_per_candidate(
    model: Kosmos, processor: Processor, document: Document, end: bool
) -> None:
    engine = Engine(model, processor)
    with engine.prefill(document) as prefix:
        made = prefix.score(CANDIDATES, include_end=end)
    assert_close(made, [plain_score(model, processor, document, candidate, end) for candidate in CANDIDATES])


def test_batches_of_prompts_with_lists_of_their_own(engine: Engine) -> None:
    prompts = [Document(PICTURES[i % 4], "an image " * (i % 3)) for i in range(11)]
    lists = [CANDIDATES[: i % 5] for i in range(11)]
    made = engine.score(prompts, lists)
    for prompt, candidates, scores in zip(prompts, lists, made, strict=True):
        assert_close(scores, [plain_score(engine.model, engine.processor, prompt, text) for text in candidates])
    assert engine.pool.num_free == 8


def test_one_list_serves_all_prompts(engine: Engine) -> None:
    prompts = [Document("what is it?"), Document(PICTURES[1])]
    assert engine.score(prompts, [" Yes", " No"]) == engine.score(prompts, [[" Yes", " No"], [" Yes", " No"]])


def test_many_candidates_run_in_several_passes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [f" {first} {second}" for first in ("red", "two", "green") for second in ("cat", "dogs,", "house;")]
    prefixes = engine.prefill([Document("an"), Document(PICTURES[0], "of")])
    lists = [candidates, [*candidates, *CANDIDATES]]
    whole = engine.score_prefixes(prefixes, lists)
    monkeypatch.setattr(scoring, "_ROW_TOKENS", 7)
    monkeypatch.setattr(scoring, "_PASS_TOKENS", 10)
    parts = engine.score_prefixes(prefixes, lists)
    for made, expected in zip(parts, whole):
        assert_close(made, expected)


def test_scoring_leaves_the_prefix_as_it_was(engine: Engine) -> None:
    prefix = engine.prefill(Document(PICTURES[2], "an"))
    before = prefix.greedy(10)
    scores = prefix.score(CANDIDATES)
    assert prefix.greedy(10) == before
    assert prefix.score(CANDIDATES) == scores


def test_score_of_a_generation_is_the_sum_of_its_log_probs(engine: Engine) -> None:
    prefix = engine.prefill(Document("what is"))
    candidates = [" it? Answer: Yes", " the red cat"]
    for candidate, score in zip(candidates, prefix.score(candidates)):
        ids = scoring.continuation_ids(engine, scoring.trailing_text(prefix.document), candidate, False)
        assert engine.processor.decode(ids) == candidate.strip()
        assert score.num_tokens == len(ids)


def test_single_token_candidates_cost_no_pass(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = engine.prefill(Document("is it?"))
    expected = plain_score(engine.model, engine.processor, prefix.document, "x")
    monkeypatch.setattr(engine, "forward_step", None)
    assert_close(prefix.score(["x"]), [expected])
    assert expected.num_tokens == 1


def test_prompt_and_candidate_over_the_limit(engine: Engine) -> None:
    prefix = engine.prefill(Document("an " * 100))
    with pytest.raises(UsageError, match="exceed the limit of 128 tokens"):
        prefix.score([" Yes", " of" * 60])


def test_wrong_lists_are_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="not one string"):
        engine.score([Document()], " Yes")
    with pytest.raises(UsageError, match="2 lists of candidates for 1 prompts"):
        engine.score([Document()], [[" Yes"], [" No"]])
    with pytest.raises(UsageError, match="lists of candidates for"):
        engine.score([Document()], [[" Yes"], " No"])
