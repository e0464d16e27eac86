"""`generate` of the transformers model: caches, padding, beams, pictures of uneven rows, all as our Engine."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import StaticCache

from kosmos.document import Document
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.inference.tiny import tiny_model
from tests.interop.twins import Twins, make_twins, picture, transformers_twin

PROMPTS = [
    Document("an image of the"),
    Document("Question: what is it? Answer:"),
    Document(picture(0), "an image of"),
    Document("the cat", picture(1), "and", picture(2), "red"),
    Document(picture(3), picture(4), picture(5)),
    Document("two dogs, a"),
]


@pytest.fixture(scope="module", params=["xpos", "sinusoidal"])
def twins(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Twins:
    """A model that wanders and ends at times, so that what comes is not always the same token."""
    ours = tiny_model(tokenizer, request.param)
    return Twins(ours, transformers_twin(ours, tokenizer), Processor(tokenizer, ours.config))


def continued(twins: Twins, documents: list[Document], **options: Any) -> list[list[int]]:
    """New tokens of each row, `</s>` included, padding not."""
    _, given = twins.encode(documents, pad_left=True)
    with torch.no_grad():
        made: Tensor = twins.theirs.generate(**given, **{"do_sample": False, "max_new_tokens": 12, **options})
    new = made[:, given["input_ids"].shape[1] :]
    return [[token for token in row if token != 1] for row in new.tolist()]


def engines(twins: Twins, **options: Any) -> list[list[int]]:
    engine = Engine(twins.ours, twins.processor, max_slots=8)
    made = engine.generate(PROMPTS, options=Decoding(12, **options))
    return [list(result.token_ids) for generation in made for result in generation.all]


def test_greedy_is_the_engines_in_a_left_padded_batch_and_alone(twins: Twins) -> None:
    expected = engines(twins)
    assert len({tuple(row) for row in expected}) == len(PROMPTS)
    assert len({len(row) for row in expected}) > 1
    assert continued(twins, PROMPTS) == expected
    assert [continued(twins, [document])[0] for document in PROMPTS] == expected


def test_the_cache_changes_nothing_nor_does_its_kind(twins: Twins) -> None:
    expected = continued(twins, PROMPTS)
    assert continued(twins, PROMPTS, use_cache=False) == expected
    assert continued(twins, PROMPTS, cache_implementation="static") == expected
    assert continued(twins, PROMPTS[3:4], cache_implementation="static") == expected[3:4]


@pytest.mark.parametrize("num_beams", [2, 5])
def test_beams_are_the_engines(twins: Twins, num_beams: int) -> None:
    """Rows with 0, 1, 2 and 3 pictures in one batch: each beam must see its own row's, in order."""
    best = engines(twins, num_beams=num_beams)
    assert continued(twins, PROMPTS, num_beams=num_beams) == best
    assert best != engines(twins)


def test_every_beam_and_early_stopping(twins: Twins) -> None:
    for early, penalty in ((True, 1.0), ("never", 0.6), (False, 0.0)):
        options = {"num_beams": 5, "length_penalty": penalty, "early_stopping": early}
        expected = engines(twins, num_results=5, **options)
        assert continued(twins, PROMPTS, num_return_sequences=5, **options) == expected


def test_beams_in_a_static_cache(twins: Twins) -> None:
    expected = engines(twins, num_beams=5)
    assert continued(twins, PROMPTS, num_beams=5, cache_implementation="static") == expected
    assert continued(twins, PROMPTS, num_beams=5, use_cache=False) == expected


def test_rows_are_expanded_with_their_own_pictures(twins: Twins) -> None:
    """Also where `generate` hands the pixels on, as a transformers that does not encode them first does."""
    _, given = twins.encode(PROMPTS[2:5], pad_left=True)
    pixels = given["pixel_values"]
    ids, expanded = twins.theirs._expand_inputs_for_generation(expand_size=2, is_encoder_decoder=False, **given)
    order = [0, 0, 1, 2, 1, 2, 3, 4, 5, 3, 4, 5]
    assert torch.equal(expanded["pixel_values"], pixels[order])
    assert torch.equal(ids, given["input_ids"].repeat_interleave(2, 0))
    assert torch.equal(expanded["attention_mask"], given["attention_mask"].repeat_interleave(2, 0))


def test_samples_of_one_prompt_see_its_pictures(twins: Twins) -> None:
    """With top_k 1 a sample is the greedy answer, three times over."""
    greedy = continued(twins, PROMPTS)
    made = continued(twins, PROMPTS, do_sample=True, top_k=1, num_return_sequences=3)
    assert made == [row for row in greedy for _ in range(3)]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_prompt_of_embeddings(twins: Twins, num_beams: int) -> None:
    _, given = twins.encode(PROMPTS, pad_left=True)
    options: dict[str, Any] = {"do_sample": False, "num_beams": num_beams, "max_new_tokens": 5}
    with torch.no_grad():
        wanted = twins.theirs.generate(**given, **options)[:, given["input_ids"].shape[1] :]
        embeds = twins.theirs.get_input_embeddings()(given.pop("input_ids"))
        made = twins.theirs.generate(inputs_embeds=embeds, **given, **options)
    assert torch.equal(made, wanted)


def test_places_without_pictures_are_refused(twins: Twins) -> None:
    _, given = twins.encode(PROMPTS, pad_left=True)
    assert given.pop("pixel_values") is not None
    with pytest.raises(ValueError, match="image tokens in input_ids, but no pictures; give the processor's"):
        twins.theirs.generate(**given, max_new_tokens=2)


def test_pictures_are_encoded_once_a_call(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    projector = twins.theirs.model.multi_modal_projector
    handle = projector.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    try:
        continued(twins, PROMPTS, num_beams=5)
    finally:
        handle.remove()
    assert seen == [6]


def test_a_second_turn_continues_the_cache(twins: Twins) -> None:
    _, given = twins.encode([Document("the cat", picture(1), "and")])
    with torch.no_grad():
        first = twins.theirs.generate(
            **given, do_sample=False, max_new_tokens=3, min_new_tokens=3, return_dict_in_generate=True
        )
        turn = twins.encode([Document(picture(2), "red")])[1]
        pixels = turn["pixel_values"]
        whole = torch.cat((first.sequences, turn["input_ids"][:, 1:]), 1)
        fresh = twins.theirs.generate(
            whole, pixel_values=torch.cat((given["pixel_values"], pixels)), do_sample=False, max_new_tokens=5
        )
        # What the cache holds ends one token before the last that was written.
        cached = first.past_key_values
        rest = whole[:, cached.get_seq_length() :]
        out = twins.theirs(rest, pixel_values=pixels, past_key_values=cached, logits_to_keep=1)
    never = torch.tensor(twins.theirs.generation_config.suppress_tokens)
    logits = out.logits[0, -1].index_fill(0, never, -torch.inf)
    assert int(logits.argmax()) == int(fresh[0, whole.shape[1]])


def test_no_special_token_is_written_but_the_two_that_end(twins: Twins) -> None:
    tokenizer = twins.processor.tokenizer
    made = {token for row in continued(twins, PROMPTS, num_beams=5, num_return_sequences=5) for token in row}
    allowed = {tokenizer.eos_id, tokenizer.line_id, *range(4, tokenizer.slot_id)}
    assert made <= allowed
    suppressed = set(twins.theirs.generation_config.suppress_tokens)
    assert suppressed == set(range(tokenizer.vocab_size)) - allowed


def test_a_language_model_generates_too(tokenizer: Tokenizer) -> None:
    twins = make_twins(tokenizer, "text-only")
    engine = Engine(twins.ours, twins.processor)
    texts = [PROMPTS[0], PROMPTS[1]]
    expected = [list(made.token_ids) for made in engine.generate(texts, options=Decoding(12, num_beams=3))]
    assert continued(twins, texts, num_beams=3) == expected


@torch.no_grad()
def test_a_step_in_a_static_cache_is_one_graph(twins: Twins) -> None:
    """What `_can_compile_fullgraph` promises, without a compiler behind it: torch traces the step without a break."""
    _, given = twins.encode(PROMPTS, pad_left=True)
    ids, mask = given["input_ids"], given["attention_mask"]
    cache = StaticCache(config=twins.theirs.config, max_cache_len=ids.shape[1] + 2)
    twins.theirs(**given, past_key_values=cache)
    token = torch.full((len(ids), 1), 7)
    positions = mask.sum(-1, keepdim=True)
    seen = torch.cat((mask, torch.ones_like(token), torch.zeros_like(token)), 1).bool()[:, None, None]
    torch._dynamo.reset()
    step = torch.compile(twins.theirs, backend="eager", fullgraph=True)
    found = step(token, attention_mask=seen, position_ids=positions, past_key_values=cache).logits
    whole = {**given, "input_ids": torch.cat((ids, token), 1), "attention_mask": torch.cat((mask, mask[:, -1:]), 1)}
    expected = twins.theirs(**whole, logits_to_keep=1).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
