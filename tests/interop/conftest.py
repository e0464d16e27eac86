from __future__ import annotations

import pytest

from kosmos.tokenizer import Tokenizer
from tests.inference.tiny import tiny_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
