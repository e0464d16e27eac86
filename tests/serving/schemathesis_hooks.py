"""Hooks for schemathesis: valid cases become possible ones too, so that they reach the engine.

What no schema can say is mended here, in half of the valid cases alone: roles that alternate, pictures that are ones,
as many as the text has places for, options that do not exclude each other. All else stays as it was made.
"""

from __future__ import annotations

import base64
import io
import random
from typing import Any

import PIL.Image
import schemathesis

_file = io.BytesIO()
PIL.Image.new("RGB", (5, 3), "teal").save(_file, "PNG")
PICTURE = "data:image/png;base64," + base64.b64encode(_file.getvalue()).decode()
_MOST_PICTURES = 16
_MOST_TURNS = 7
chance = random.Random(1)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    meta = case.meta
    valid = meta is not None and meta.generation.mode is schemathesis.GenerationMode.POSITIVE
    if valid and isinstance(case.body, dict) and chance.random() < 0.5:
        make_possible(case.body)


def make_possible(body: dict[str, Any]) -> None:
    """Change what this server would refuse although the schema allows it."""
    if isinstance(body.get("messages"), list):
        body["messages"] = _alternating(body["messages"])
        if body.get("max_tokens") == 0:
            body["max_tokens"] = 1
        if body.get("top_logprobs"):
            body["logprobs"] = True
    elif isinstance(body.get("prompt"), list) and "candidates" in body:
        body.pop("images", None)
        _show_pictures(body["prompt"])
    elif body.get("images") is not None:
        body["images"] = [PICTURE] * min(len(body["images"]), _MOST_PICTURES)
        text = str(body["prompt"][0] if isinstance(body["prompt"], list) else body["prompt"])
        body["prompt"] = text.replace("<image>", "") + "<image>" * len(body["images"])
    if "candidates" not in body:
        _agree(body)


def _alternating(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    turns = messages[: _MOST_TURNS - (len(messages) + 1) % 2]
    turns = turns if len(turns) % 2 else turns[:-1] or turns
    for index, turn in enumerate(turns):
        turn["role"] = ("user", "assistant")[index % 2]
        content = turn["content"]
        if turn["role"] == "assistant" or isinstance(content, str):
            turn["content"] = (content if isinstance(content, str) else "") + "a"
        else:
            _show_pictures(content)
            content.append({"type": "text", "text": "what is it?"})
    return turns


def _show_pictures(parts: list[dict[str, Any]]) -> None:
    del parts[_MOST_PICTURES // 4 :]
    for part in parts:
        if part["type"] == "image_url":
            part["image_url"]["url"] = PICTURE


def _agree(body: dict[str, Any]) -> None:
    """Options that exclude each other, or name another number than the one they must."""
    if body.get("stream_options") is not None:
        body["stream"] = True
    body.pop("best_of", None)
    if body.get("max_tokens") == 0:
        body["max_tokens"] = 1
    most = body.get("max_completion_tokens") or body.get("max_tokens") or 16
    body["min_tokens"] = min(body.get("min_tokens") or 0, most)
    if (body.get("num_beams") or 1) > 1:
        body["temperature"] = 0
        body["n"] = min(body.get("n") or 1, body["num_beams"])
        body.pop("logprobs", None)
        body.pop("top_logprobs", None)
    elif (body.get("n") or 1) > 1:
        body["temperature"] = body.get("temperature") or 1
