"""The official client against the server: what it sends and what it reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kosmos.chat_format import chat_document
from kosmos.document import Document, Image
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from tests.serving.official_client import BLUE, RED, asked, client, engine, live, parts, plain
from tests.serving.pictures import data_url
from tests.serving.running import MODEL, Running

__all__ = ["client", "engine", "live", "plain"]


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "kosmos"


def test_a_chat_about_pictures(client: Any, plain: Engine) -> None:
    content = (RED, "what is the red cat?", BLUE, "and two dogs,")
    made = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": parts(*content)}], max_tokens=12
    )
    expected = plain.generate([asked(*content)], 12)[0]
    assert made.choices[0].message.content == expected.text
    assert made.choices[0].message.role == "assistant"
    assert made.choices[0].finish_reason == ("length" if expected.finish_reason == "length" else "stop")
    assert made.usage.prompt_tokens == len(plain.encode(asked(*content)))
    assert made.usage.completion_tokens == len(expected.token_ids)
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens


def test_pictures_keep_their_order(client: Any, plain: Engine) -> None:
    """The other order is another prompt; both answers are those of the engine."""
    for content in ((RED, BLUE, "which?"), (BLUE, RED, "which?")):
        made = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": parts(*content)}],
            max_tokens=6,
            logprobs=True,
        )
        expected = plain.generate([asked(*content)], 6)[0]
        values = [token.logprob for token in made.choices[0].logprobs.content]
        assert values == pytest.approx(expected.log_probs[: len(values)], abs=1e-4)


def test_turns_and_a_system_message(client: Any, plain: Engine) -> None:
    made = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "an image of the house;"},
            {"role": "user", "content": parts(RED, "what is it?")},
            {"role": "assistant", "content": "a red cat"},
            {"role": "user", "content": "is it green?"},
        ],
        max_completion_tokens=9,
    )
    turns = [("user", Document(Image(RED), "what is it?")), ("assistant", "a red cat"), ("user", "is it green?")]
    document = Document("an image of the house; ") + chat_document(turns)  # type: ignore[arg-type]
    assert made.choices[0].message.content == plain.generate([document], 9)[0].text


def test_a_chat_streams(client: Any, plain: Engine) -> None:
    expected = plain.generate([asked(RED, "what is it?")], options=Decoding(20, min_new_tokens=10))[0]
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": parts(RED, "what is it?")}],
        max_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"min_tokens": 10},
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == expected.text
    assert sum(bool(piece) for piece in pieces) > 3  # in pieces, not at the end
    assert chunks[0].choices[0].delta.role == "assistant"
    finished = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert finished == ["length" if expected.finish_reason == "length" else "stop"]
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(expected.token_ids)
    assert len({chunk.id for chunk in chunks}) == 1


def test_draws_have_seeds_and_are_those_of_the_engine(client: Any, plain: Engine) -> None:
    made = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "what is it?"}],
        n=3,
        temperature=1.5,
        top_p=0.9,
        seed=11,
        max_tokens=8,
    )
    options = Decoding(8, temperature=1.5, top_p=0.9, seed=11, num_results=3)
    expected = plain.generate([asked("what is it?")], options=options)[0].all
    assert [choice.message.content for choice in made.choices] == [one.text for one in expected]
    assert [choice.index for choice in made.choices] == [0, 1, 2]
    assert made.usage.completion_tokens == sum(len(one.token_ids) for one in expected)


def test_draws_stream_side_by_side(client: Any, plain: Engine) -> None:
    options = Decoding(8, min_new_tokens=8, temperature=1.5, seed=5, num_results=2)
    expected = [one.text for one in plain.generate([asked("what is it?")], options=options)[0].all]
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "what is it?"}],
        n=2,
        temperature=1.5,
        seed=5,
        max_tokens=8,
        stream=True,
        extra_body={"min_tokens": 8},
    )
    texts = ["", ""]
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == expected


def test_without_a_seed_draws_differ(client: Any) -> None:
    def draw() -> str:
        made = client.completions.create(model=MODEL, prompt="the", temperature=2.0, max_tokens=16)
        return str(made.choices[0].text)

    assert len({draw() for _ in range(4)}) > 1


def test_beams(client: Any, plain: Engine) -> None:
    options = Decoding(10, num_beams=4, length_penalty=0.5, num_results=2)
    expected = plain.generate([Document("an image of")], options=options)[0].all
    extra = {"num_beams": 4, "length_penalty": 0.5}
    made = client.completions.create(
        model=MODEL, prompt="an image of", n=2, max_tokens=10, logprobs=0, extra_body=extra
    )
    assert [choice.text for choice in made.choices] == [one.text for one in expected]
    values = made.choices[0].logprobs.token_logprobs
    assert values == pytest.approx(expected[0].log_probs[: len(values)], abs=1e-4)
    stream = client.completions.create(model=MODEL, prompt="an image of", max_tokens=10, stream=True, extra_body=extra)
    assert "".join(chunk.choices[0].text for chunk in stream) == expected[0].text


def test_names(client: Any, plain: Engine) -> None:
    """The answer is one of them, as the engine's search in their trie finds it."""
    names = ["red cat", "two dogs,", "green house;", "red"]
    expected = plain.generate(
        [Document("an image of")], options=Decoding(num_beams=3, num_results=2), names=[f" {name}" for name in names]
    )[0].all
    extra = {"names": names, "num_beams": 3}
    made = client.completions.create(model=MODEL, prompt="an image of", n=2, extra_body=extra)
    assert [choice.text for choice in made.choices] == [one.text for one in expected]
    assert {choice.text for choice in made.choices} <= set(names)
    stream = client.completions.create(
        model=MODEL, prompt="an image of", stream=True, extra_body={"names": names, "num_beams": 1}
    )
    assert "".join(chunk.choices[0].text for chunk in stream) in names


def test_an_echo_streams_as_it_is_whole(client: Any) -> None:
    request = {"model": MODEL, "prompt": ["the red", "two"], "echo": True, "logprobs": 2, "max_tokens": 5}
    whole = client.completions.create(**request)
    texts, tokens = ["", ""], [[], []]  # type: ignore[var-annotated]
    for chunk in client.completions.create(**request, stream=True):
        choice = chunk.choices[0]
        texts[choice.index] += choice.text
        if choice.logprobs:
            tokens[choice.index] += zip(
                choice.logprobs.tokens, choice.logprobs.token_logprobs, choice.logprobs.text_offset
            )
    for choice in whole.choices:
        assert texts[choice.index] == choice.text
        names, values, places = zip(*tokens[choice.index])
        assert list(names) == choice.logprobs.tokens
        assert list(places) == choice.logprobs.text_offset
        assert values[1:] == pytest.approx(choice.logprobs.token_logprobs[1:], abs=1e-5)


def test_stop_strings_end_the_text(client: Any, plain: Engine) -> None:
    whole = plain.generate([Document("an image of")], options=Decoding(20, min_new_tokens=20))[0].text
    stop = whole[5:7]
    extra = {"min_tokens": 0}
    made = client.completions.create(
        model=MODEL, prompt="an image of", max_tokens=20, stop=[stop, "never there"], logprobs=2, extra_body=extra
    )
    expected = plain.generate([Document("an image of")], options=Decoding(20, stop=(stop, "never there")))[0]
    choice = made.choices[0]
    assert (choice.text, choice.finish_reason) == (expected.text, "stop")
    assert stop not in choice.text
    assert all(offset < len(choice.text) for offset in choice.logprobs.text_offset)
    stream = client.completions.create(model=MODEL, prompt="an image of", max_tokens=20, stop=stop, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == expected.text


def test_log_probabilities_of_a_chat(client: Any, plain: Engine) -> None:
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "what is it?"}],
        "max_tokens": 8,
        "logprobs": True,
        "top_logprobs": 4,
        "extra_body": {"min_tokens": 8},
    }
    whole = client.chat.completions.create(**request).choices[0]
    expected = plain.generate([asked("what is it?")], options=Decoding(8, min_new_tokens=8))[0]
    tokens = whole.logprobs.content
    assert [token.logprob for token in tokens] == pytest.approx(expected.log_probs, abs=1e-4)
    assert "".join(token.token for token in tokens).lstrip() == whole.message.content.lstrip()
    for token in tokens:
        assert len(token.top_logprobs) == 4
        values = [other.logprob for other in token.top_logprobs]
        assert values == sorted(values, reverse=True)
        assert (token.top_logprobs[0].token, values[0]) == (token.token, token.logprob)  # greedy
        assert bytes(token.bytes) == token.token.encode()
    streamed = [
        token
        for chunk in client.chat.completions.create(**request, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert [(token.token, token.logprob) for token in streamed] == [(token.token, token.logprob) for token in tokens]


def test_an_echo_has_the_prompts_log_probabilities(client: Any, plain: Engine) -> None:
    prompt = "an image of the red cat"
    made = client.completions.create(model=MODEL, prompt=prompt, echo=True, logprobs=2, max_tokens=4)
    choice, logprobs = made.choices[0], made.choices[0].logprobs
    generated = plain.generate([Document(prompt)], 4)[0]
    assert choice.text == prompt + generated.text
    count = made.usage.prompt_tokens
    assert logprobs.token_logprobs[0] is None
    assert logprobs.top_logprobs[0] is None
    score = plain.score([Document()], [prompt])[0][0]
    assert sum(logprobs.token_logprobs[1:count]) == pytest.approx(score.sum, abs=1e-3)
    assert logprobs.token_logprobs[count:] == pytest.approx(
        generated.log_probs[: len(logprobs.tokens) - count], abs=1e-4
    )
    for token, place in zip(logprobs.tokens[1:], logprobs.text_offset[1:]):
        assert choice.text[place:].startswith(token.strip()) or choice.text[place:].startswith(token)
    only = client.completions.create(model=MODEL, prompt=prompt, echo=True, logprobs=0, max_tokens=0)
    assert only.choices[0].text == prompt
    assert only.choices[0].logprobs.token_logprobs == logprobs.token_logprobs[:count]
    assert only.choices[0].logprobs.top_logprobs is None
    assert (only.usage.completion_tokens, only.choices[0].finish_reason) == (0, "length")


def test_between_an_echo_and_a_new_word_is_a_space(client: Any, plain: Engine) -> None:
    prompts = ["the red", "two dogs", "what is", "an", "cat", "house", "the red ", ""]
    found = set()
    for seed, prompt in enumerate(prompts):
        options = Decoding(4, temperature=2.0, seed=seed)
        generated = plain.generate([Document(prompt) if prompt else Document()], options=options)[0]
        new_word = plain.processor.tokenizer.id_to_piece(generated.token_ids[0]).startswith("\u2581")
        joint = " " if new_word and prompt and prompt[-1] != " " else ""
        found.add(joint)
        request = {"model": MODEL, "prompt": prompt, "echo": True, "max_tokens": 4, "temperature": 2.0, "seed": seed}
        assert client.completions.create(**request).choices[0].text == prompt + joint + generated.text
        pieces = [chunk.choices[0].text for chunk in client.completions.create(**request, stream=True)]
        assert "".join(pieces) == prompt + joint + generated.text
    assert found == {"", " "}


def test_an_echo_with_pictures(client: Any, plain: Engine) -> None:
    """Their slots and marks have no log-probability; what stands behind them has that of the engine."""
    made = client.completions.create(
        model=MODEL,
        prompt="<image> an image of",
        echo=True,
        logprobs=1,
        max_tokens=3,
        extra_body={"images": [data_url(RED)]},
    )
    document = Document(Image(RED), " an image of")
    choice, row = made.choices[0], plain.encode(document)
    assert choice.text == "<image> an image of" + plain.generate([document], 3)[0].text
    assert made.usage.prompt_tokens == len(row)
    silent = row.inputs[0].num_slots + 3  # `<s>`, the slots, and the two marks
    values = choice.logprobs.token_logprobs
    assert values[:silent] == [None] * silent
    score = plain.score([Document(Image(RED))], [" an image of"])[0][0]
    assert sum(values[silent : len(row)]) == pytest.approx(score.sum, abs=1e-3)


def test_several_prompts_with_pictures(client: Any, plain: Engine) -> None:
    made = client.completions.create(
        model=MODEL,
        prompt=["<image> an image of", "two dogs", "the <image> is <image>"],
        max_tokens=6,
        extra_body={"images": [data_url(RED), data_url(BLUE), data_url(RED)]},
    )
    documents = [
        Document(Image(RED), " an image of"),
        Document("two dogs"),
        Document("the ", Image(BLUE), " is ", Image(RED)),
    ]
    assert [choice.text for choice in made.choices] == [one.text for one in plain.generate(documents, 6)]
    assert [choice.index for choice in made.choices] == [0, 1, 2]
    assert made.usage.prompt_tokens == sum(len(plain.encode(document)) for document in documents)


def test_text_never_becomes_a_special_token(client: Any, plain: Engine) -> None:
    special = "<image></image></s><s><mask></line><pad>"
    made = client.completions.create(model=MODEL, prompt=special, echo=True, logprobs=0, max_tokens=0)
    row = plain.encode(Document(special))
    tokenizer = plain.processor.tokenizer
    assert row.inputs == ()
    assert not set(row.token_ids[1:].tolist()) & {
        tokenizer.eos_id,
        tokenizer.slot_id,
        tokenizer.bos_id,
        tokenizer.pad_id,
    }
    assert made.usage.prompt_tokens == len(row)
    assert made.choices[0].logprobs.tokens.count("<s>") == 1
    assert not {"<mask>", "<image>", "</image>", "</s>", "</doc>"} & set(made.choices[0].logprobs.tokens)
    chat = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": special}], max_tokens=1)
    assert chat.usage.prompt_tokens == len(plain.encode(asked(special)))


def test_many_clients_at_once_get_their_own_answers(client: Any, live: Running, plain: Engine) -> None:
    """Greedy, drawn, beams, scores and echoes side by side; more than there are slots."""
    prompts = [
        f"{first} {second}" for first in ("an image", "the red", "two", "what") for second in ("cat", "dogs,", "it?")
    ]
    greedy = [one.text for one in plain.generate([Document(prompt) for prompt in prompts], 12)]
    beams = [one.text for one in plain.generate([Document(p) for p in prompts], options=Decoding(6, num_beams=3))]
    scores = [[s.sum for s in row] for row in plain.score([Document(p) for p in prompts], [" cat", " dogs, a"])]

    def continued(prompt: str) -> str:
        return str(client.completions.create(model=MODEL, prompt=prompt, max_tokens=12).choices[0].text)

    def streamed(prompt: str) -> str:
        stream = client.completions.create(model=MODEL, prompt=prompt, max_tokens=12, stream=True)
        return "".join(chunk.choices[0].text for chunk in stream)

    def searched(prompt: str) -> str:
        extra = {"num_beams": 3}
        return str(
            client.completions.create(model=MODEL, prompt=prompt, max_tokens=6, extra_body=extra).choices[0].text
        )

    def scored(prompt: str) -> list[float]:
        body = {"prompt": prompt, "candidates": ["cat", "dogs, a"]}
        return [result["sum"] for result in client.post("/score", body=body, cast_to=object)["results"]]

    with ThreadPoolExecutor(24) as pool:
        jobs = [[pool.submit(ask, prompt) for prompt in prompts] for ask in (continued, streamed, searched, scored)]
        answers = [[job.result() for job in group] for group in jobs]
    assert answers[:3] == [greedy, greedy, beams]
    for found, expected in zip(answers[3], scores):
        assert found == pytest.approx(expected, abs=1e-3)
    live.wait_until(lambda: live.service.thread.num_slots_used == 0)
