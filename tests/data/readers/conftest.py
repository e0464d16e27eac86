from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.readers.server import FileServer, serving


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no long waits for a server that fails."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("KOSMOS_CACHE", str(folder))
    monkeypatch.setattr("kosmos.data.readers.files._FIRST_WAIT", 0.001)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running
