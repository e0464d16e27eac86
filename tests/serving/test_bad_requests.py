from __future__ import annotations

from typing import Any

import pytest

from tests.serving.official_client import RED, client, engine, live, parts
from tests.serving.pictures import data_url
from tests.serving.running import MODEL, Running

openai = pytest.importorskip("openai", reason="the openai client is not installed")

__all__ = ["client", "engine", "live"]


def test_errors_are_the_clients_own(client: Any, live: Running) -> None:
    user = [{"role": "user", "content": "what is it?"}]
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4", messages=user)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=MODEL, input="a", encoding_format="float")
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="wrong", max_retries=0) as other:
        with pytest.raises(openai.AuthenticationError):
            other.models.list()
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "dogs " * 200}])
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "messages")
    assert "limit is 128" in long.value.body["message"]


@pytest.mark.parametrize(
    ("request_fields", "param", "words"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content", "some text"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "some text"),
        ({"messages": [{"role": "user", "content": parts(RED)}]}, "messages[0].content", "some text"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "required"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role", "assistant"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "messages", "last message"),
        ({"messages": [{"role": "user", "content": "a"}] * 2}, "messages", "alternate"),
        ({"messages": [{"role": "user", "content": "a"}] * 200}, "messages", "limit of 128"),
        ({"messages": [{"role": "system", "content": parts(RED)}]}, "messages[0].content", "only the user"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
            "messages[1].role",
            "before the first question",
        ),
        ({"messages": [{"role": "user", "content": parts("a", *[RED] * 5)}]}, "messages", "limit of 4"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "required"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0]", "image_url"),
        ({"temperature": -1}, "temperature", "at least 0"),
        ({"temperature": 1, "n": 9}, "n", "limit is 8"),
        ({"n": 2}, None, "n is 2"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_tokens": 4096}, "max_tokens", "limit is 1024"),
        ({"top_logprobs": 2}, "top_logprobs", "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "20"),
        ({"stop": ["a", ""]}, "stop[1]", "at least 1"),
        ({"extra_body": {"num_beams": 99}}, "num_beams", "limit is 8"),
        ({"extra_body": {"num_beams": 2}, "temperature": 1}, None, "exclude"),
        ({"extra_body": {"tempratur": 1}}, "tempratur", "did you mean 'temperature'"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream"),
        ({"frequency_penalty": 1}, "frequency_penalty", "not supported"),
    ],
)
def test_bad_chats(client: Any, request_fields: dict[str, Any], param: str | None, words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            **{"model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 2, **request_fields}
        )
    assert caught.value.param == param
    assert words in caught.value.body["message"]
    assert "\n" not in caught.value.body["message"]
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"prompt": "<image>", "extra_body": {"images": []}}, "images", "1 times"),
        ({"prompt": "a", "extra_body": {"images": [data_url(RED)]}}, "images", "0 times"),
        ({"prompt": "<image>" * 5, "extra_body": {"images": [data_url(RED)] * 5}}, "images", "limit of 4"),
        ({"prompt": [1, 2, 3]}, "prompt[0]", "string"),
        ({"prompt": []}, "prompt", "at least 1"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens", "echo"),
        ({"prompt": "a", "best_of": 3}, "best_of", "not supported"),
        ({"prompt": "a", "logprobs": 6}, "logprobs", "5"),
        ({"prompt": "a", "logprobs": 2, "extra_body": {"num_beams": 2}}, "logprobs", "num_beams"),
        ({"prompt": "a", "extra_body": {"names": []}}, "names", "at least 1"),
        ({"prompt": "a", "extra_body": {"names": ["a", "a"]}}, "names", "twice"),
        ({"prompt": "a", "extra_body": {"names": [" "]}}, "names[0]", "nothing is left"),
        ({"prompt": "a", "extra_body": {"names": ["a"]}, "stop": "a"}, "names", "leave out"),
        ({"prompt": "dogs " * 9000}, "prompt", "tokens"),
        ({"prompt": "a", "n": 100, "temperature": 1}, "n", "limit is 8"),
        ({"prompt": ["a"] * 33, "n": 2, "temperature": 1}, "n", "66 answers in all"),
    ],
)
def test_bad_completions(client: Any, fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{"model": MODEL, "max_tokens": 2, **fields})
    assert caught.value.param == param
    assert words in caught.value.body["message"]


@pytest.mark.parametrize("text", [" ", "\u200b", "\ufeff"])
def test_a_candidate_without_a_token(client: Any, text: str) -> None:
    """Its sum would be 0, so it would be the best of all."""
    with pytest.raises(openai.BadRequestError, match="nothing is left") as caught:
        client.post("/score", body={"prompt": "a", "candidates": ["cat", text]}, cast_to=object)
    assert caught.value.param == "candidates[1]"
