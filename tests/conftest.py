"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of published reference data beside the repository: KOSMOS_SHARED, or ../shared."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("KOSMOS_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"no folder of reference data at {folder} (set KOSMOS_SHARED)")
    return folder
