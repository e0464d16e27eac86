"""The official client and a server with a key, and the same weights in an engine of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kosmos.chat_format import chat_document
from kosmos.document import Document, Image
from kosmos.inference.engine import Engine
from kosmos.serving.options import ServeOptions
from tests.serving.pictures import data_url, picture
from tests.serving.running import Running, running, tiny_engine

KEY = "a-key-of-the-tests"
RED, BLUE = picture(colour="red"), picture(colour="blue")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return tiny_engine(tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The same weights in an engine of the test's own."""
    return tiny_engine(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def live(engine: Engine) -> Iterator[Running]:
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    with running(engine, ServeOptions(api_keys=(KEY,), max_images=4)) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Running) -> Iterator[Any]:
    openai = pytest.importorskip("openai", reason="the openai client is not installed")
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=KEY, max_retries=0, timeout=30) as made:
        yield made


def parts(*content: bytes | str) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": data_url(part)}}
        for part in content
    ]


def asked(*content: bytes | str) -> Document:
    """What the model reads for one question."""
    return chat_document([("user", Document(*(Image(p) if isinstance(p, bytes) else p for p in content)))])
