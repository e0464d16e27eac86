from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.document import Document
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.inference.live_batch import LiveBatch, LiveRow
from kosmos.inference.prefix import Prefix
from kosmos.inference.prompt_log_probs import prompt_log_probs
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.inference.oracle import PICTURES, documents, plain_logits

decodings = st.builds(
    Decoding,
    max_new_tokens=st.integers(2, 16),
    min_new_tokens=st.integers(0, 2),
    temperature=st.sampled_from([0.0, 0.0, 0.8, 1.5]),
    top_k=st.sampled_from([0, 3]),
    seed=st.integers(0, 3),
    stop=st.sampled_from([(), ("e",), ("a", "the "), (" ",)]),
)


@dataclass
class Arrival:
    """A request that joins before step `at`, and is cancelled before step `leaves` if that comes."""

    document: Document
    options: Decoding
    at: int
    leaves: int | None


arrivals = st.lists(
    st.builds(Arrival, documents, decodings, st.integers(0, 12), st.one_of(st.none(), st.none(), st.integers(1, 16))),
    min_size=2,
    max_size=8,
)


@given(arrivals)
@settings(max_examples=60, deadline=None)
def test_answers_are_those_of_the_request_alone(model: Kosmos, processor: Processor, arriving: list[Arrival]) -> None:
    """Whoever joins or leaves, and whenever: tokens, text, reason, and the pieces of the text."""
    engine, alone = Engine(model, processor, max_slots=4), Engine(model, processor, max_slots=4)
    batch = LiveBatch(engine)
    waiting = sorted(arriving, key=lambda arrival: arrival.at)
    held: dict[LiveRow, tuple[Arrival, Prefix]] = {}
    pieces: dict[LiveRow, str] = {}
    step = 0
    while waiting or held:
        while waiting and waiting[0].at <= step and engine.pool.num_free:
            arrival = waiting.pop(0)
            prefix = engine.prefill(arrival.document)
            row = batch.join(prefix, arrival.options, stream=True)
            held[row], pieces[row] = (arrival, prefix), ""
        for row, (arrival, prefix) in list(held.items()):
            if arrival.leaves is not None and step >= arrival.leaves:
                batch.leave(row)
                prefix.free()
                del held[row]
        ended = batch.advance()
        for row in list(held):
            pieces[row] += row.take_delta()
        for row in ended:
            arrival, prefix = held.pop(row)
            prefix.free()
            made, expected = row.result(), alone.generate([arrival.document], options=arrival.options)[0]
            assert (made.token_ids, made.text) == (expected.token_ids, expected.text)
            assert made.finish_reason == expected.finish_reason
            assert made.log_probs == pytest.approx(expected.log_probs, abs=1e-4)
            assert pieces[row] == expected.text
        step += 1
    assert batch.rows == []
    assert engine.pool.num_free == 4


def test_a_row_that_leaves_is_run_no_more(engine: Engine) -> None:
    batch = LiveBatch(engine)
    with engine.prefill(Document(PICTURES[0], "an image")) as first, engine.prefill(Document("two dogs")) as second:
        options = Decoding(20, min_new_tokens=20)
        gone, stays = batch.join(first, options), batch.join(second, options)
        batch.advance()
        batch.leave(gone)
        batch.leave(gone)  # harmless
        for _ in range(19):
            batch.advance()
        assert (len(gone.tokens), len(stays.tokens)) == (1, 20)
        assert gone.reason is None
        assert stays.reason == "length"


def test_a_step_that_failed_may_be_tried_again_in_parts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a lack of memory: the rows are run one by one, and nothing is chosen twice."""
    prompts = [Document("an image of"), Document(PICTURES[1], "two dogs, a"), Document("the")]
    expected = [engine.generate([prompt], 10)[0] for prompt in prompts]
    prefixes = engine.prefill(prompts)
    batch = LiveBatch(engine)
    rows = [batch.join(prefix, Decoding(10)) for prefix in prefixes]
    forward = engine.forward_step

    def small(token_ids: torch.Tensor, step: object) -> torch.Tensor:
        if len(token_ids) > 1:
            raise MemoryError
        return forward(token_ids, step)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "forward_step", small)
    while batch.rows:
        try:
            batch.run(batch.rows)
        except MemoryError:
            for row in list(batch.rows):
                batch.run([row])
        batch.choose()
    assert [row.result().token_ids for row in rows] == [generation.token_ids for generation in expected]


def test_the_most_probable_tokens_and_their_places(engine: Engine, model: Kosmos) -> None:
    document = Document(PICTURES[2], "an image of")
    with engine.prefill(document) as prefix:
        batch = LiveBatch(engine)
        row = batch.join(prefix, Decoding(6, min_new_tokens=6), stream=True, top=3)
        batch.join(engine.prefill(Document("the")), Decoding(6))
        while row.reason is None:
            batch.advance()
    logits = plain_logits(model, engine.encode(document))[-1]
    allowed = logits.log_softmax(-1).masked_fill(engine.forbidden, -math.inf).topk(3)
    assert [token for token, _ in row.tops[0]] == allowed.indices.tolist()
    assert [value for _, value in row.tops[0]] == pytest.approx(allowed.values.tolist(), abs=1e-4)
    for place, (token, log_prob) in enumerate(zip(row.tokens, row.log_probs)):
        assert dict(row.tops[place]).get(token, log_prob) == log_prob
    decode = engine.processor.decode
    assert row.starts == [len(decode(row.tokens[:count])) for count in range(6)]


def test_log_probs_of_the_prompt_itself(engine: Engine, model: Kosmos) -> None:
    """Those of one plain pass; None for `<s>` and all that is a picture's."""
    row = engine.encode(Document("an image", PICTURES[0], "of the red cat", PICTURES[1]))
    found = prompt_log_probs(engine, row, top=2)
    expected = plain_logits(model, row).log_softmax(-1)
    silent = {0} | {at for item in row.inputs for at in range(item.start - 1, item.start + item.num_slots + 1)}
    assert len(found) == len(row)
    for place, token in enumerate(found):
        assert (token is None) == (place in silent)
        if token is not None:
            log_prob, top = token
            assert log_prob == pytest.approx(expected[place - 1, row.token_ids[place]].item(), abs=1e-4)
            allowed = expected[place - 1].masked_fill(engine.forbidden, -math.inf)
            assert top[0][0] == allowed.argmax().item()
            assert top[0][1] == pytest.approx(allowed.max().item(), abs=1e-4)
