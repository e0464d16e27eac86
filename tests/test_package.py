"""`import kosmos` is instant, and its names are where they say."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kosmos
from kosmos.errors import (
    ConfigError,
    DataError,
    ImageError,
    Interrupted,
    KosmosError,
    StorageError,
    UsageError,
    nearest,
)


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, kosmos, kosmos.config, kosmos.errors; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "kosmos" in loaded
    assert not {"torch", "transformers", "numpy", "PIL", "sentencepiece", "pydantic"} & set(loaded)


def test_documents_configuration_and_images_need_no_torch() -> None:
    rooms = ["document", "presets", "images", "tokenizer", "chat_format", "runs", "storage", "example"]
    code = f"import sys, {', '.join(f'kosmos.{room}' for room in rooms)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "kosmos.tokenizer" in loaded and not {"torch", "transformers"} & set(loaded)


@pytest.mark.parametrize("name", sorted(set(kosmos.__all__) - {"__version__"}))
def test_names_are_resolved_when_used(name: str) -> None:
    assert getattr(kosmos, name).__name__ == name and name in dir(kosmos)


def test_unknown_names() -> None:
    assert kosmos.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="module 'kosmos' has no attribute 'Cosmos'"):
        kosmos.Cosmos  # noqa: B018


def test_exit_codes() -> None:
    codes = {
        KosmosError: 1,
        UsageError: 2,
        ConfigError: 2,
        DataError: 3,
        ImageError: 3,
        Interrupted: 4,
        StorageError: 5,
    }
    assert {kind: kind.exit_code for kind in codes} == codes
    assert nearest("stepz", ["seed", "steps"]) == " (did you mean 'steps'?)" and nearest("zzz", ["steps"]) == ""
