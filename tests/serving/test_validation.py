"""400 messages are plain words: nothing of the validator's."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from kosmos.serving.refusals import Refusal
from kosmos.serving.schemas import ChatRequest, CompletionRequest, Form, ScoreRequest, StreamOptions
from kosmos.serving.validation import NEUTRAL_ONLY, as_refusal

_CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "a"}]}
_LEAVE_OUT = "not supported by this server; leave it out"


def refused(form: type[Form], body: Any) -> Refusal:
    with pytest.raises(ValidationError) as caught:
        form.model_validate(body)
    errors = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]
    refusal = as_refusal(RequestValidationError(errors))
    assert refusal.status == 400
    assert not re.search(r"Input|should|List|Dictionary|valid|Field|tag|<", refusal.message)
    return refusal


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (ChatRequest, {"tools": [{"type": "function"}]}),
        (ChatRequest, {"tools": 3}),
        (ChatRequest, {"frequency_penalty": 1}),
        (ChatRequest, {"frequency_penalty": -1}),
        (ChatRequest, {"presence_penalty": "high"}),
        (ChatRequest, {"logit_bias": {"17": 2.0}}),
        (ChatRequest, {"response_format": {"type": "json_object"}}),
        (ChatRequest, {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}),
        (ChatRequest, {"store": True}),
        (CompletionRequest, {"suffix": "b"}),
    ],
)
def test_a_field_of_which_only_the_neutral_value_is_accepted(form: type[Form], fields: dict[str, Any]) -> None:
    (name,) = fields
    refusal = refused(form, {**(_CHAT if form is ChatRequest else {"prompt": "a"}), **fields})
    assert (refusal.message, refusal.param) == (f"{name}: {_LEAVE_OUT}", name)


def test_the_neutral_values_are_accepted() -> None:
    neutral = {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "stream_options": None}
    ChatRequest.model_validate({**_CHAT, **neutral, "tools": [], "response_format": {"type": "text"}, "store": False})
    CompletionRequest.model_validate({"prompt": "a", **neutral, "suffix": ""})
    fields = {*ChatRequest.model_fields, *CompletionRequest.model_fields, *StreamOptions.model_fields}
    assert {name for field in NEUTRAL_ONLY for name in field} <= fields
    refusal = refused(ChatRequest, {**_CHAT, "stream_options": {"include_obfuscation": True}})
    assert refusal.message == f"stream_options.include_obfuscation: {_LEAVE_OUT}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "messages: it must have at least 1 item"),
        ({"messages": None}, "messages: it must be a list"),
        ({"messages": ["a"]}, "messages[0]: it must be an object"),
        ({"messages": [{"role": "user"}]}, "messages[0].content: missing; it is required"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content: it must be a string or a list"),
        (
            {"messages": [{"role": "tool", "content": "a"}]},
            "messages[0].role: it must be 'system', 'developer', 'user' or 'assistant'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file"}]}]},
            "messages[0].content[0]: its type must be one of 'text', 'image_url'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"text": "a"}]}]},
            "messages[0].content[0]: its type is missing; it must be one of 'text', 'image_url'",
        ),
        ({"temperature": -1}, "temperature: it must be at least 0"),
        ({"temperature": 101}, "temperature: it must be at most 100"),
        ({"temperature": float("nan")}, "temperature: it must be a finite number"),
        ({"temperature": "hot"}, "temperature: it must be a number"),
        ({"top_p": 0}, "top_p: it must be above 0"),
        ({"seed": 1 << 63}, "seed: it must be below 9223372036854775808"),
        ({"n": 1.5}, "n: it must be a whole number"),
        ({"stream": "yes"}, "stream: it must be true or false"),
        ({"stream_options": []}, "stream_options: it must be an object"),
        ({"early_stopping": "x"}, "early_stopping: it must be true or false or 'never'"),
        ({"stop": 3}, "stop: it must be a string or a list"),
        ({"stop": ["a"] * 5}, "stop: it may have at most 4 items"),
        ({"stop": ["a", ""]}, "stop[1]: it must have at least 1 character"),
        ({"stop": "a" * 257}, "stop: it may have at most 256 characters"),
        ({"metadata": {"a": 1}}, "metadata: each of its values must be a string"),
        ({"metadata": "a"}, "metadata: it must be an object"),
        ({"tempratur": 1}, "tempratur: unknown field (did you mean 'temperature'?)"),
    ],
)
def test_plain_words(fields: dict[str, Any], message: str) -> None:
    refusal = refused(ChatRequest, {**_CHAT, **fields})
    assert refusal.message == message
    assert refusal.param == message.partition(":")[0]


def test_bodies_of_the_other_forms() -> None:
    assert refused(CompletionRequest, {"prompt": []}).message == "prompt: it must have at least 1 item"
    assert refused(CompletionRequest, {"prompt": [1, 2]}).message == "prompt[0]: it must be a string"
    assert refused(ScoreRequest, {"prompt": "a", "candidates": [""]}).message == (
        "candidates[0]: it must have at least 1 character"
    )
    whole = refused(ScoreRequest, [1])
    assert (whole.message, whole.param) == ("the body: it must be an object", None)
