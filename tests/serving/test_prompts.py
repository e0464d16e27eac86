from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from kosmos.document import Image
from kosmos.serving.options import ServeOptions
from kosmos.serving.refusals import Refusal
from tests.serving.pictures import data_url, picture

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")


def chat(*contents: list[tuple[str, str]]) -> list[Any]:
    """Turns of (text, "...") and (image, url) parts, the user's first."""
    from kosmos.serving.schemas import Message

    made = []
    for index, parts in enumerate(contents):
        content = [
            {"type": "text", "text": text} if kind == "text" else {"type": "image_url", "image_url": {"url": text}}
            for kind, text in parts
        ]
        made.append(Message.model_validate({"role": "assistant" if index % 2 else "user", "content": content}))
    return made


def test_pictures_are_waited_for_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight of 50 ms, in two turns, and each comes to its own place."""
    from kosmos.serving import prompts

    async def slow(url: str, options: ServeOptions, param: str, size: int | None = None) -> Image:
        await asyncio.sleep(0.05)
        return Image(url.encode())

    monkeypatch.setattr(prompts, "read_picture", slow)
    reader = prompts.PromptReader(ServeOptions(), "kosmos-qa", 16)
    turns = [[("text", "which?"), *(("image", f"{turn}{place}") for place in range(4))] for turn in range(2)]
    start = time.monotonic()
    made = asyncio.run(reader.chat(chat(turns[0], [("text", "this")], turns[1])))
    assert time.monotonic() - start < 0.25
    found = [segment.data for segment in made.segments if isinstance(segment, Image)]
    assert found == [b"00", b"01", b"02", b"03", b"10", b"11", b"12", b"13"]


def test_the_first_refusal_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from kosmos.serving import prompts

    cancelled = []

    async def read(url: str, options: ServeOptions, param: str, size: int | None = None) -> Image:
        if url == "bad":
            raise Refusal(400, "no picture", param=param)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(url)
            raise
        raise AssertionError

    monkeypatch.setattr(prompts, "read_picture", read)
    reader = prompts.PromptReader(ServeOptions(), "kosmos-qa", 16)
    with pytest.raises(Refusal) as caught:
        asyncio.run(reader.completion(["<image><image>"], ["good", "bad"]))
    assert caught.value.param == "images[1]"
    assert cancelled == ["good"]


def test_the_real_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    from kosmos.serving import prompts

    reader = prompts.PromptReader(ServeOptions(), "kosmos-qa", 16)
    (made,) = asyncio.run(reader.completion(["a <image> b"], [data_url(picture())]))
    assert [type(segment).__name__ for segment in made.segments] == ["Text", "Image", "Text"]
