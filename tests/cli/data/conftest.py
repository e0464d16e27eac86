"""The corpora that the tests of `kosmos data` read; not to be changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.data.corpora import write_all


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reader -> a file of its form."""
    return write_all(tmp_path_factory.mktemp("corpora"))
