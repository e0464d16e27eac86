"""`kosmos data ACTION`: every module is an action, with examples that parse, and nothing heavy is imported for help."""

from __future__ import annotations

import pkgutil
import re
import shlex
import subprocess
import sys

import pytest

import kosmos.cli.data
from kosmos.cli.data import ACTIONS, action_modules
from kosmos.cli.main import verb_parser
from tests.cli.process import Command, environment, one_line

HEAVY = ("torch", "pyarrow", "zstandard", "fsspec", "aiohttp", "datatrove", "trafilatura", "fastwarc", "rich")


def test_every_module_is_an_action() -> None:
    shared = {"pipelines"}  # what dedup, decontaminate and pages have in common
    modules = {module.name for module in pkgutil.iter_modules(kosmos.cli.data.__path__)} - shared
    assert modules == set(action_modules())
    assert [name for name in ACTIONS if name in modules] == list(action_modules())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kosmos.cli.main import main; code = main(['data', '--help'])\n"
        f"print(code, [name for name in {HEAVY} if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert finished.stdout.splitlines()[-1] == "0 []", finished.stderr
    listed = re.findall(r"^    ([a-z]+)", finished.stdout, flags=re.MULTILINE)
    assert listed == list(action_modules())


@pytest.mark.parametrize("action", action_modules())
def test_every_action_has_examples_that_parse(action: str) -> None:
    examples = re.findall(rf"^  kosmos data ({action}\b.*)$", action_modules()[action].__doc__ or "", re.MULTILINE)
    assert examples
    for example in examples:
        assert verb_parser("data").parse_args(shlex.split(example, comments=True)).action == action


def test_an_unknown_action(kosmos_here: Command, tmp_path: object) -> None:
    finished = kosmos_here("data", "picturebok", cwd=tmp_path)
    assert finished.returncode == 2
    assert one_line(finished).endswith("(did you mean 'picturebook'?); see `kosmos data --help`")
