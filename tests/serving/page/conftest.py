"""Debian's Chromium, started once for each module of tests: a running playwright keeps asyncio from other tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.serving.page.scripted_server import Scripted


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra dev)")
    program = shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(program).is_file():
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(
            executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Scripted]:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from kosmos.serving.options import ServeOptions
    from tests.serving.page.scripted_server import scripted_server

    with scripted_server(ServeOptions(max_images=12)) as scripted:
        yield scripted
