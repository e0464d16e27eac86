from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kosmos.tokenizer import Tokenizer
from tests.inference.tiny import tiny_tokenizer
from tests.interop.kosmos2_folder import Folders, make_folders


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def kosmos2_folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A random Kosmos-2 in transformers' form, and imported; read only."""
    return make_folders(tmp_path_factory.mktemp("kosmos2"))


@pytest.fixture
def kosmos2_copy(kosmos2_folders: Folders, tmp_path: Path) -> Path:
    """The folder of transformers, to be changed."""
    return Path(shutil.copytree(kosmos2_folders.theirs, tmp_path / "copy"))


@pytest.fixture(scope="session")
def code_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where transformers copies the code of exported folders to; not the user's."""
    from transformers import dynamic_module_utils

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
            del sys.modules[name]

    folder = tmp_path_factory.mktemp("code")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(folder))
        patch.syspath_prepend(str(folder))
        forget()
        yield folder
    forget()
