from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.document import Document, Image, Text
from kosmos.errors import UsageError
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding, Generation
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.inference.oracle import PICTURES, append, documents, plain_greedy, plain_logits
from tests.inference.tiny import tiny_model

MIXED = [
    Document(PICTURES[0], "an image of"),
    Document(),
    Document("two dogs", PICTURES[1], PICTURES[2]),
    Document("Question: what is it? Answer:", PICTURES[3], "red"),
    Document("an image of the red cat and two dogs, " * 3),
    Document(PICTURES[0]),
    Document("of"),
]


def assert_same(made: Generation, expected: Generation) -> None:
    assert (made.token_ids, made.text, made.finish_reason) == (
        expected.token_ids,
        expected.text,
        expected.finish_reason,
    )
    np.testing.assert_allclose(made.log_probs, expected.log_probs, atol=1e-4)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(document=documents)
def test_greedy_is_the_plain_loop(model: Kosmos, processor: Processor, document: Document) -> None:
    with Engine(model, processor).prefill(document) as prefix:
        made = prefix.greedy(10)
    tokens, log_probs = plain_greedy(model, processor, document, 10)
    assert list(made.token_ids) == tokens
    np.testing.assert_allclose(made.log_probs, log_probs, atol=1e-4)
    assert made.text == processor.decode(tokens)
    assert made.finish_reason == ("end" if tokens[-1] == processor.tokenizer.eos_id else "length")


@settings(max_examples=10, deadline=None, derandomize=True)
@given(batch=st.lists(documents, min_size=1, max_size=7), batch_size=st.sampled_from([1, 2, 3, 8]))
def test_batch_is_single(model: Kosmos, processor: Processor, batch: list[Document], batch_size: int) -> None:
    engine = Engine(model, processor, max_slots=8)
    options = [Decoding(3 + index * 2 % 9) for index in range(len(batch))]
    together = engine.generate(batch, options=options, batch_size=batch_size)
    alone = [engine.generate([document], options=option)[0] for document, option in zip(batch, options)]
    for made, expected in zip(together, alone, strict=True):
        assert_same(made, expected)
    assert engine.pool.num_free == 8


def test_the_test_model_is_not_trivial(engine: Engine) -> None:
    """It ends by itself at times, says different things to different pictures, and does not repeat one token."""
    made = engine.generate([Document(picture, word) for picture in PICTURES for word in ("an", "of", "it?")], 12)
    assert {generation.finish_reason for generation in made} == {"end", "length"}
    assert len({generation.token_ids for generation in made}) > 5
    assert max(len(set(generation.token_ids)) for generation in made) > 3


def test_steps_over_any_subset_leave_the_others_alone(engine: Engine) -> None:
    prefixes = engine.prefill(MIXED)
    fresh = [prefix.greedy(12) for prefix in prefixes]
    for chosen in ([5, 1, 3], [0, 6], [2], [6, 5, 4, 3, 2, 1, 0]):
        made = engine.decode([prefixes[index] for index in chosen], [Decoding(4 + index) for index in chosen])
        for index, generation in zip(chosen, made):
            assert generation.token_ids == fresh[index].token_ids[: 4 + index]
    for prefix, expected in zip(prefixes, fresh):
        assert_same(prefix.greedy(12), expected)


def test_a_fork_is_exact_and_independent(engine: Engine) -> None:
    prefix = engine.prefill(MIXED[3])
    expected = prefix.greedy(8)
    fork = prefix.fork()
    both = engine.decode([prefix, fork], [Decoding(8), Decoding(8, temperature=1.0, seed=3)])
    assert_same(both[0], expected)
    prefix.free()
    assert fork.greedy(8) == expected
    with pytest.raises(UsageError, match="was freed"):
        prefix.greedy(1)


def test_streams_interleave(engine: Engine) -> None:
    """Two streams of one prefix, and other work between their pieces."""
    prefix = engine.prefill(MIXED[0])
    wanted = [prefix.greedy(12).text, prefix.sample(12, seed=5).text]
    streams = [prefix.stream(12), prefix.stream(decoding=Decoding(12, temperature=1.0, seed=5))]
    texts = ["", ""]
    for _ in range(13):
        for index, stream in enumerate(streams):
            texts[index] += next(stream, "")
            engine.generate(MIXED[1:3], 3)
            prefix.score([" Yes", " the red cat"])
    assert texts == wanted
    assert engine.pool.num_free == 7


def test_a_dropped_prefix_gives_its_slot_back(engine: Engine) -> None:
    prefix = engine.prefill(MIXED[0])
    assert engine.pool.num_free == 7
    del prefix
    gc.collect()
    assert engine.pool.num_free == 8
    next(engine.prefill(MIXED[0]).stream(8))
    gc.collect()
    assert engine.pool.num_free == 8


def test_a_prefix_that_is_collected_in_the_midst_of_a_move(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector comes whenever it likes, also while the prefix's row makes way for another's."""
    prefixes = engine.prefill(MIXED[:4])
    last = prefixes.pop()
    expected = [last.greedy(5), prefixes[0].greedy(5)]
    move = engine.pool._move

    def collect(*args: object) -> None:
        prefixes[1:] = []
        gc.collect()
        move(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.pool, "_move", collect)
    made = engine.decode([last, prefixes[0]], [Decoding(5)] * 2)
    assert len(prefixes) == 1
    monkeypatch.undo()
    for one, two in zip(made, expected):
        assert_same(one, two)
    assert engine.pool.num_free == 6
    again = engine.prefill(MIXED[:6])
    assert_same(engine.decode([*again, last], [Decoding(5)] * 7)[-1], expected[0])


def test_log_probs_are_those_of_the_whole_vocabulary(engine: Engine) -> None:
    for made in (engine.prefill(MIXED[3]).sample(10, temperature=2.0, seed=1), engine.prefill(MIXED[3]).greedy(10)):
        row = append(engine.encode(MIXED[3]), list(made.token_ids))
        expected = plain_logits(engine.model, row).log_softmax(-1)[-len(made.token_ids) - 1 : -1]
        np.testing.assert_allclose(
            made.log_probs, expected[range(len(made.token_ids)), list(made.token_ids)].tolist(), atol=1e-4
        )


def test_specials_are_never_generated(engine: Engine) -> None:
    """Even by a model whose head shouts for them."""
    tokenizer = engine.processor.tokenizer
    special = [0, 1, 3, *range(tokenizer.slot_id, tokenizer.vocab_size - 1)]
    assert tokenizer.line_id not in special
    weight = engine.model.decoder.embedding.weight
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[special] *= 50
        made = engine.generate(
            [Document("an image")] * 4, options=[Decoding(20, temperature=1.0, seed=s) for s in range(4)]
        )
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    drawn = {token for generation in made for token in generation.token_ids}
    assert drawn
    assert not drawn & set(special)


def test_image_cache_changes_nothing(model: Kosmos, processor: Processor) -> None:
    calls = []
    with_cache = Engine(model, processor)
    without = Engine(model, processor, image_cache_bytes=0)
    original = model.encode_inputs

    def counted(name: str, features: torch.Tensor) -> torch.Tensor:
        calls.append(len(features))
        return original(name, features)

    batch = [Document(PICTURES[i % 3], f"an image {i}", PICTURES[(i + 1) % 3]) for i in range(6)]
    model.encode_inputs = counted  # type: ignore[method-assign]
    try:
        first = with_cache.generate(batch, 6)
        assert calls == [3]  # each content once, all in one call
        again = with_cache.generate(batch, 6)
        assert calls == [3]
        plain = without.generate(batch, 6)
        without.generate(batch, 6)
        assert calls == [3, 3, 3]
        with_cache.clear()
        with_cache.generate(batch[:1], 6)
        assert calls == [3, 3, 3, 2]
    finally:
        del model.encode_inputs
    for one, two, three in zip(first, again, plain):
        assert one == two
        assert_same(one, three)


def test_image_cache_forgets_beyond_its_limit(model: Kosmos, processor: Processor) -> None:
    one = 3 * 32 * 4  # latents, hidden size, bytes of fp32
    engine = Engine(model, processor, image_cache_bytes=2 * one)
    engine.generate([Document(picture) for picture in PICTURES], 2)
    assert len(engine.embeddings._held) == 2
    assert engine.embeddings._num_bytes == 2 * one


def test_prompts_at_the_limit(model: Kosmos, processor: Processor) -> None:
    document = Document(PICTURES[0], "of of of of of")
    length = len(processor.encode(document, end=False))
    made = Engine(model, processor, max_length=length + 2).prefill(document).greedy(50)
    assert list(made.token_ids) == plain_greedy(model, processor, document, 2)[0]
    assert made.finish_reason == "length"
    Engine(model, processor, max_length=length + 1).prefill(document).greedy(1)
    with pytest.raises(UsageError, match=f"prompt is {length} tokens long.*limit is {length}"):
        Engine(model, processor, max_length=length).prefill(document)


def test_a_refused_batch_takes_no_slot(engine: Engine) -> None:
    with pytest.raises(UsageError, match="tokens long"):
        engine.generate([Document("an"), Document("cat " * 200)], 4)
    with pytest.raises(UsageError, match="9 more prompts do not fit"):
        engine.prefill([Document("an")] * 9)
    assert engine.pool.num_free == 8


def test_generate_keeps_the_order_and_works_around_held_prefixes(engine: Engine) -> None:
    held = engine.prefill(MIXED[:5])
    expected = [prefix.greedy(4) for prefix in held]
    made = engine.generate(MIXED * 3, 4)
    for index, generation in enumerate(made):
        assert_same(generation, made[index % len(MIXED)])
    for one, two in zip(expected, made):
        assert_same(one, two)
    assert engine.generate([], 4) == []


def test_memory_is_reused(engine: Engine) -> None:
    engine.generate(MIXED * 2, 8)
    held = engine.pool.num_bytes
    for _ in range(5):
        engine.generate(MIXED * 2, 8)
    assert engine.pool.num_bytes == held


def test_wrong_use_is_refused(engine: Engine) -> None:
    prefix = engine.prefill(Document("an"))
    with pytest.raises(UsageError, match="twice; fork"):
        engine.decode([prefix, prefix], [Decoding()] * 2)
    with pytest.raises(UsageError, match="2 prompts, but 1 options"):
        engine.generate([Document(), Document()], options=[Decoding()])
    with pytest.raises(UsageError, match="not both"):
        engine.generate([Document()], 4, options=Decoding())
    with pytest.raises(UsageError, match="batch_size is 0"):
        engine.generate([Document()], 4, batch_size=0)
    with pytest.raises(UsageError, match="precision 'fp16'"):
        Engine(engine.model, engine.processor, precision="fp16")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="max_length is 500"):
        Engine(engine.model, engine.processor, max_length=500)
    with pytest.raises(UsageError, match="max_slots is 0"):
        Engine(engine.model, engine.processor, max_slots=0)


def test_a_prefix_of_another_engine_is_refused(engine: Engine, processor: Processor) -> None:
    """Its handle is the number of a slot here too, with another prompt in it."""
    other = Engine(engine.model, processor)
    theirs, ours = other.prefill(Document("two dogs")), engine.prefill(Document("an"))
    assert theirs.handle == ours.handle
    for use in (
        lambda: engine.decode([theirs], [Decoding(2)]),
        lambda: engine.score_prefixes([theirs], [[" Yes"]]),
        lambda: engine.stream(theirs, Decoding(2)),
        lambda: engine.reread(theirs, Document("an"), take=True),
    ):
        with pytest.raises(UsageError, match="another engine's"):
            use()
    assert theirs.is_held and other.pool.num_free == 63 and engine.pool.num_free == 7


def test_bf16_is_near_fp32(model: Kosmos, processor: Processor) -> None:
    exact = Engine(model, processor).prefill(MIXED[3])
    near = Engine(model, processor, precision="bf16").prefill(MIXED[3])
    assert near.last_logits.dtype == torch.float32
    difference = (near.last_logits.log_softmax(-1) - exact.last_logits.log_softmax(-1)).abs().max()
    assert 0 < difference < 0.15
    assert len(near.greedy(6).token_ids) >= 1
    assert near._engine.pool._keys[0].dtype == torch.bfloat16


def test_the_answer_follows_the_picture(engine: Engine) -> None:
    """Two rows of one batch that differ in nothing but the picture get each their own."""
    logits = [prefix.last_logits for prefix in engine.prefill([Document(picture, "an") for picture in PICTURES[:2]])]
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3


def test_supervision_marks_of_a_prompt_do_not_matter(engine: Engine) -> None:
    marked = Document(Text("two "), Text("dogs", supervised=False), Image(PICTURES[0].source), Text(" an"))
    assert engine.prefill(marked).greedy(5) == engine.prefill(marked.unsupervised()).greedy(5)


def test_training_mode_is_left(tokenizer: Tokenizer) -> None:
    model = tiny_model(tokenizer).train()
    engine = Engine(model, Processor(tokenizer, model.config))
    assert not model.training
    assert engine.generate([Document("an")], 5) == engine.generate([Document("an")], 5)
