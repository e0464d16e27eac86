from __future__ import annotations

import pytest

from kosmos.inference.engine import Engine
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.inference.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session", params=["xpos", "sinusoidal"])
def model(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Kosmos:
    return tiny_model(tokenizer, request.param)


@pytest.fixture(scope="session")
def processor(model: Kosmos, tokenizer: Tokenizer) -> Processor:
    return Processor(tokenizer, model.config)


@pytest.fixture
def engine(model: Kosmos, processor: Processor) -> Engine:
    return Engine(model, processor, max_slots=8)
