"""The wheel that is built from this tree: what must be in it is, and what must not is not.

`tests/wheel/empty_environment.sh` installs it into an empty environment and runs it there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

import kosmos
from tests.documents.reading import REPOSITORY

PACKAGE = REPOSITORY / "kosmos"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built without the network: the build backend must be installed."""
    pytest.importorskip("hatchling", reason="hatchling is not installed, and an isolated build would fetch it")
    out = tmp_path_factory.mktemp("wheel")
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    built = subprocess.run([sys.executable, "-c", build, str(out)], cwd=REPOSITORY, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (file,) = out.glob("*.whl")
    assert file.name == f"kosmos-{kosmos.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def about(wheel: zipfile.ZipFile) -> Message:
    return message_from_string(wheel.read(f"kosmos-{kosmos.__version__}.dist-info/METADATA").decode())


def test_every_file_of_the_package_is_in_it(wheel: zipfile.ZipFile) -> None:
    kept = {
        path.relative_to(REPOSITORY).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == kept | {"kosmos/constraints.txt"}
    # Beside the code: what is read at run time.
    assert {"kosmos/py.typed", "kosmos/configs/picturebook.yaml", "kosmos/serving/page.html"} <= kept
    assert {path for path in kept if path.startswith("kosmos/interop/remote_code/")} >= {
        "kosmos/interop/remote_code/modeling_kosmos.py",
        "kosmos/interop/remote_code/configuration_kosmos.py",
        "kosmos/interop/remote_code/tokenization_kosmos.py",
    }
    assert any(path.startswith("kosmos/evaluation/fixtures/") for path in kept)


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"kosmos", f"kosmos-{kosmos.__version__}.dist-info"}
    endings = {Path(name).suffix for name in wheel.namelist() if ".dist-info/" not in name}
    assert endings <= {".py", ".yaml", ".html", ".txt", ".typed", ".json", ".jinja", ".md", ".css", ".js"}
    assert sum(item.file_size for item in wheel.infolist()) < 8 << 20


def test_constraints_and_licence_are_those_of_the_tree(wheel: zipfile.ZipFile) -> None:
    licence = f"kosmos-{kosmos.__version__}.dist-info/licenses/LICENSE"
    assert wheel.read("kosmos/constraints.txt") == (REPOSITORY / "constraints.txt").read_bytes()
    assert wheel.read(licence) == (REPOSITORY / "LICENSE").read_bytes()


def test_what_it_says_of_itself(wheel: zipfile.ZipFile, about: Message) -> None:
    assert (about["Name"], about["Version"], about["License-Expression"]) == ("kosmos", kosmos.__version__, "MIT")
    assert about["Requires-Python"] == ">=3.11"
    entries = wheel.read(f"kosmos-{kosmos.__version__}.dist-info/entry_points.txt").decode()
    assert "kosmos = kosmos.cli.main:entry_point" in entries
    always = [line for line in about.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"[<>=;\[ ]", line)[0] for line in always} == {
        *("torch", "transformers", "safetensors", "sentencepiece", "pillow"),
        *("numpy", "ruamel-yaml", "pydantic", "tyro", "rich"),
    }


def test_every_extra_that_is_spoken_of_is_there(about: Message) -> None:
    """In documents and in messages: pip install 'kosmos[NAME]'."""
    files = [*PACKAGE.rglob("*.py"), *(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md"]
    spoken = {
        extra
        for file in files
        for found in re.findall(r"kosmos\[([a-z,-]+)\]", file.read_text(encoding="utf-8"))
        for extra in found.split(",")
    }
    assert "web" in spoken and spoken - set(about.get_all("Provides-Extra", [])) == set()


def test_the_changelog_has_this_version() -> None:
    assert f"\n## {kosmos.__version__}\n" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
