"""What holds for every block of every document: a known language, a test that runs it or a reason, and true syntax."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import itertools
import json
import re
import shlex
import subprocess

import pytest

from kosmos.cli.main import VERBS, load_verb, main, verb_parser
from kosmos.config_files import parse_yaml
from kosmos.errors import UsageError
from tests.documents.not_run import NOT_RUN
from tests.documents.reading import (
    LANGUAGES,
    REPOSITORY,
    Block,
    all_blocks,
    blocks,
    documents,
    inline_commands,
    name_of,
    prose,
)
from tests.documents.run_by import RUN_BY

DOCUMENTS = [name_of(document) for document in documents()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_block_has_a_known_language(name: str) -> None:
    unknown = [block.where for block in blocks(REPOSITORY / name) if block.language not in LANGUAGES]
    assert unknown == []
    # Code by indentation would hide from all of this.
    assert not re.search(r"^    (kosmos|python|torchrun|make|pip|curl) ", prose(REPOSITORY / name), flags=re.MULTILINE)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_to_be_run_is_run_by_a_test(name: str) -> None:
    to_run = [b.where for b in blocks(REPOSITORY / name) if b.language in ("sh", "python", "console") and not b.title]
    assert (name in RUN_BY) == bool(to_run), to_run
    for test in RUN_BY.get(name, ()):
        file, _, function = test.partition("::")
        code = (REPOSITORY / file).read_text(encoding="utf-8")
        assert f"def {function}(" in code, test


def test_the_list_of_what_is_not_run_is_complete() -> None:
    shown = {(block.document, block.commands[0]) for block in all_blocks("bash")}
    listed = {
        (document, first): [key for key in NOT_RUN if key[0] == document and first.startswith(key[1])]
        for document, first in shown
    }
    assert {block: keys for block, keys in listed.items() if not keys} == {}
    assert set(NOT_RUN) == {max(keys, key=lambda key: len(key[1])) for keys in listed.values()}
    assert all(NOT_RUN.values())


@pytest.mark.parametrize("block", all_blocks("sh", "bash"), ids=lambda block: block.where)
def test_shell_parses(block: Block) -> None:
    finished = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    for command in block.commands:
        check_command(command, block.where)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_inside_sentences_parse(name: str) -> None:
    for command in inline_commands(REPOSITORY / name):
        if "..." not in command and "VERB" not in command and "NAME" not in command:
            check_command(command, name, complete=False)


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda block: block.where)
def test_python_parses(block: Block) -> None:
    ast.parse(block.text, block.where)


@pytest.mark.parametrize("block", all_blocks("yaml", "json"), ids=lambda block: block.where)
def test_data_loads(block: Block) -> None:
    if block.language == "yaml":
        assert isinstance(parse_yaml(block.text), dict)
    else:
        try:
            assert json.loads(block.text)
        except json.JSONDecodeError:  # one object a line
            assert all(isinstance(json.loads(line), dict) for line in block.text.splitlines())


@pytest.mark.parametrize("block", all_blocks("text"), ids=lambda block: block.where)
def test_what_is_called_text_holds_no_command(block: Block) -> None:
    assert not re.search(r"^(\$ )?(kosmos|python|make|pip|curl|torchrun|import|from) ", block.text, flags=re.MULTILINE)


def test_every_make_target_is_there() -> None:
    called = [shlex.split(command, comments=True) for block in all_blocks("sh") for command in block.commands]
    targets = sorted({words[1] for words in called if words[0] == "make"})
    assert "demo" in targets
    finished = subprocess.run(["make", "-n", *targets], cwd=REPOSITORY, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def check_command(command: str, where: str, complete: bool = True) -> None:
    """The `kosmos` and `python -m` of a line: verbs, options and modules are there. Nothing is run.

    In a sentence (not `complete`) the positional arguments may be left out; the options must be there all the same.
    """
    words = shlex.split(command, comments=True)
    if "-m" in words and (place := words.index("-m")) and words[place + 1] == "kosmos":
        words = ["kosmos", *words[place + 2 :]]
    elif words[0] == "sbatch" and words[3].endswith("slurm.sbatch"):
        assert (REPOSITORY / words[3]).is_file()
        words = ["kosmos", "train", words[4], "--out", words[5], *words[6:]]
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]) is not None, f"{where}: {command}"
    elif words[0] == "python" and words[1].endswith(".py") and "/" in words[1]:
        assert (REPOSITORY / words[1]).is_file(), f"{where}: {command}"
    if words[0] != "kosmos" or len(words) < 2:
        return
    cut = next((i for i, word in enumerate(words) if word in ("|", "<", ">", "&", "&&", ";")), len(words))
    verb, rest = words[1], words[2:cut]
    if verb.startswith("-"):
        assert verb in ("--help", "--version", "--debug"), f"{where}: {command}"
        return
    assert verb in VERBS, f"{where}: {command}"
    if not rest or rest[-1] == "--help" or (len(rest) == 1 and verb in ("data", "eval", "tokenizer", "bench")):
        return  # the name of a verb or of an action alone
    module, parser = load_verb(verb), verb_parser(verb)
    if hasattr(module, "keep_order"):
        rest = module.keep_order(parser, rest)
    try:
        _, unknown = parser.parse_known_args(rest)
    except (UsageError, SystemExit) as error:
        spoken = list(itertools.takewhile(lambda word: not word.startswith("-"), words[2:cut]))
        if not complete and (not spoken or "arguments are required" in str(error)):
            told = helped([verb, *(spoken or ["run"] * (verb == "eval"))])
            assert all(word in told for word in rest if word.startswith("--")), f"{where}: {command}"
            return
        raise AssertionError(f"{where}: {command}: {error}") from error
    assert getattr(module, "TAKES_OVERRIDES", False) or unknown == [], f"{where}: {command}: {unknown}"


def helped(words: list[str]) -> str:
    """The help of a verb, or of an action of one."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*words, "--help"]) == 0
    return out.getvalue()
