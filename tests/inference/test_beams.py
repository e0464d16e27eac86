from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Kosmos2ForConditionalGeneration

from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.inference.beams import BeamLoop
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.inference.kosmos2 import paired_engine, their_beams
from tests.inference.oracle import PICTURES, documents
from tests.inference.tiny import WORDS

PROMPTS = [
    Document("an image of the"),
    Document("Question: what is it? Answer:"),
    Document("two dogs, a"),
    Document(PICTURES[0], "an image of"),
    Document("the cat", PICTURES[1], "and", PICTURES[2], "red"),
    Document(PICTURES[3]),
]


@pytest.fixture(scope="module")
def paired(tokenizer: Tokenizer) -> tuple[Engine, Kosmos2ForConditionalGeneration]:
    return paired_engine(tokenizer)


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 0.6, 1.0, 2.0])
def test_beams_are_those_of_transformers(
    paired: tuple[Engine, Kosmos2ForConditionalGeneration], length_penalty: float, early_stopping: Any
) -> None:
    engine, theirs = paired
    options: dict[str, Any] = {"num_beams": 5, "length_penalty": length_penalty, "early_stopping": early_stopping}
    made = engine.generate(PROMPTS, options=Decoding(12, num_results=5, **options))
    for prompt, generation in zip(PROMPTS, made, strict=True):
        tokens, scores = their_beams(engine, theirs, prompt, max_new_tokens=12, num_return_sequences=5, **options)
        assert [list(result.token_ids) for result in generation.all] == tokens
        np.testing.assert_allclose([result.score for result in generation.all], scores, rtol=1e-5)


def test_the_comparison_is_not_trivial(paired: tuple[Engine, Kosmos2ForConditionalGeneration]) -> None:
    """Beams end at different lengths, greedy search is not the best beam, and the penalty changes who wins."""
    engine, _ = paired
    made = {p: engine.generate(PROMPTS, options=Decoding(12, num_beams=5, length_penalty=p, num_results=5))
            for p in (0.0, 2.0)}  # fmt: skip
    lengths = {len(result.token_ids) for generation in made[0.0] for result in generation.all}
    assert len(lengths) > 2
    reasons = {result.finish_reason for both in made.values() for generation in both for result in generation.all}
    assert reasons == {"end", "length"}
    greedy = engine.generate(PROMPTS, 12)
    assert any(g.token_ids != b.token_ids for g, b in zip(greedy, made[0.0]))
    assert any(a.token_ids != b.token_ids for a, b in zip(made[0.0], made[2.0]))


@pytest.mark.parametrize("num_beams", [2, 3, 9])
def test_other_numbers_of_beams(paired: tuple[Engine, Kosmos2ForConditionalGeneration], num_beams: int) -> None:
    engine, theirs = paired
    for prompt in PROMPTS[1:4]:
        tokens, _ = their_beams(engine, theirs, prompt, max_new_tokens=7, min_new_tokens=3, num_beams=num_beams)
        made = engine.generate([prompt], options=Decoding(7, 3, num_beams=num_beams))[0]
        assert list(made.token_ids) == tokens[0]


def test_greedy_is_that_of_transformers(paired: tuple[Engine, Kosmos2ForConditionalGeneration]) -> None:
    engine, theirs = paired
    for prompt, made in zip(PROMPTS, engine.generate(PROMPTS, 12)):
        assert list(made.token_ids) == their_beams(engine, theirs, prompt, max_new_tokens=12)[0][0]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(batch=st.lists(documents, min_size=1, max_size=5), num_beams=st.sampled_from([2, 4]))
def test_together_is_alone(model: Kosmos, processor: Processor, batch: list[Document], num_beams: int) -> None:
    engine = Engine(model, processor, max_slots=8)
    options = [Decoding(2 + 3 * index % 8, num_beams=num_beams) for index in range(len(batch))]
    together = engine.generate(batch, options=options)
    for document, option, made in zip(batch, options, together):
        alone = engine.generate([document], options=option)[0]
        assert made.token_ids == alone.token_ids
        assert made.score == pytest.approx(alone.score, abs=1e-4)
        assert sum(made.log_probs) / len(made.token_ids) == pytest.approx(made.score, abs=1e-4)
    assert engine.pool.num_free == 8


@settings(max_examples=15, deadline=None, derandomize=True)
@given(document=documents)
def test_one_beam_is_greedy(model: Kosmos, processor: Processor, document: Document) -> None:
    """The beam loop with one beam, reached through a list of names that allows everything there is."""
    engine = Engine(model, processor)
    with engine.prefill(document) as prefix:
        assert prefix.beam(1, 8) == prefix.greedy(8)
        loop = BeamLoop(engine, [(prefix, Decoding(8), None)])
        with torch.inference_mode():
            while loop.active:
                loop.advance()
        made = loop.result(0)
        assert made.token_ids == prefix.greedy(8).token_ids
        assert made.text == prefix.greedy(8).text


def test_beams_leave_the_prefix_alone(engine: Engine) -> None:
    prefixes = engine.prefill(PROMPTS[:4])
    before = [prefix.greedy(9) for prefix in prefixes]
    for prefix in prefixes:
        prefix.beam(4, 9)
    assert [prefix.greedy(9).token_ids for prefix in prefixes] == [made.token_ids for made in before]
    for prefix in prefixes:
        prefix.free()


def test_a_stop_string_ends_a_beam(engine: Engine) -> None:
    free = engine.generate(PROMPTS, options=Decoding(12, num_beams=3))
    words = [made.text.split() for made in free]
    prompt, stop = next((p, w[1]) for p, w in zip(PROMPTS, words) if len(w) > 2 and w[1] not in w[0])
    made = engine.generate([prompt], options=Decoding(12, num_beams=3, stop=(stop,), num_results=3))[0]
    assert any(result.finish_reason == "stop" for result in made.all)
    assert all(stop not in result.text for result in made.all)


def test_a_stop_string_that_comes_too_early_does_not_end_a_beam(engine: Engine) -> None:
    """As in greedy search, which writes it out and goes on."""
    compared = 0
    for prompt in PROMPTS:
        with engine.prefill(prompt) as prefix:
            free = prefix.greedy(8)
            stop = free.text[:3]
            if stop in free.text[3:] or len(free.token_ids) < 8:
                continue
            greedy = prefix.greedy(8, min_new_tokens=7, stop=[stop])
            loop = BeamLoop(engine, [(prefix, Decoding(8, 7, stop=(stop,)), None)])
            with torch.inference_mode():
                while loop.active:
                    loop.advance()
            assert loop.result(0).text == greedy.text == free.text
            assert loop.result(0).finish_reason == greedy.finish_reason == "length"
            compared += 1
    assert compared


NAMES = [f" {a} {b}" for a in WORDS[:7] for b in WORDS[2:9]] + [" red"]


def test_constrained_is_brute_force(engine: Engine) -> None:
    """50 names, one of which begins others: as many beams as names rank them all as their full scores do."""
    assert len(NAMES) == 50
    for prompt in PROMPTS:
        with engine.prefill(prompt) as prefix:
            scores = [score.sum for score in prefix.score(NAMES, include_end=True)]
            made = prefix.constrained(NAMES, num_beams=50, length_penalty=0.0, num_results=50)
            ranked = sorted(range(50), key=lambda index: -scores[index])
            assert [result.text for result in made.all] == [NAMES[index].strip() for index in ranked]
            np.testing.assert_allclose([result.score for result in made.all], [scores[i] for i in ranked], atol=1e-4)
            few = prefix.constrained(NAMES, num_beams=2, length_penalty=0.0)
            assert few.text in {name.strip() for name in NAMES}
            assert few.score <= made.score + 1e-5


def test_constrained_in_batches(engine: Engine) -> None:
    made = engine.generate(PROMPTS, options=Decoding(num_beams=3), names=NAMES)
    alone = [engine.generate([prompt], options=Decoding(num_beams=3), names=NAMES)[0] for prompt in PROMPTS]
    assert [m.text for m in made] == [a.text for a in alone]
    assert len({m.text for m in made}) > 1
    one = engine.generate(PROMPTS[:1], options=Decoding(num_beams=1), names=[" green house"])[0]
    assert one.text == "green house" and one.finish_reason == "end"
    assert math.isclose(one.score, sum(one.log_probs) / len(one.token_ids), abs_tol=1e-5)


def test_names_that_cannot_be(engine: Engine) -> None:
    with engine.prefill(PROMPTS[0]) as prefix:
        with pytest.raises(UsageError, match="list of names is empty"):
            prefix.constrained([])
        with pytest.raises(UsageError, match="empty name"):
            prefix.constrained([" red", ""])
        with pytest.raises(UsageError, match="longest name"):
            prefix.constrained([" " + " ".join(["house"] * 130)])
    assert engine.generate([Document("a")], options=Decoding(num_beams=2), names=[" red", " red"])[0].text == "red"


def test_names_are_whole_whatever_the_options(engine: Engine) -> None:
    """A stop string cuts no name, and what would be drawn is refused."""
    names = [" red", " red cat", " two", " two dogs,"]
    option = Decoding(1, num_beams=4, num_results=4)
    with engine.prefill(PROMPTS[0]) as prefix:
        (free,) = engine.decode([prefix], [option], names)
        assert {result.text for result in free.all} == {name.strip() for name in names}
        stopped = Decoding(1, 1, num_beams=4, num_results=4, stop=("e", "o", "d"))
        assert engine.decode([prefix], [stopped], names) == [free]
    with pytest.raises(UsageError, match="searched for, not drawn"):
        engine.generate(PROMPTS, options=Decoding(4, temperature=1.0, num_results=3), names=names)
    assert engine.pool.num_free == 8


def test_beams_and_draws_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        Decoding(num_beams=2, temperature=1.0)
    with pytest.raises(UsageError, match="num_results is 3, but greedy search finds one; raise num_beams"):
        Decoding(num_results=3)
    with pytest.raises(UsageError, match="num_results is 3, but 2 beams find no more; raise num_beams"):
        Decoding(num_beams=2, num_results=3)
    assert Decoding.from_fields({"num_beams": 3, "early_stopping": "never"}).early_stopping == "never"
    with pytest.raises(UsageError, match="early_stopping"):
        Decoding.from_fields({"early_stopping": "often"})
