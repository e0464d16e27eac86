"""The dispatcher: help without torch, unknown verbs, examples in every help."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kosmos import __version__
from kosmos.cli.main import VERBS, verb_parser
from tests.cli.process import Command, environment, one_line


def test_help_lists_every_verb_without_torch() -> None:
    code = "import sys; from kosmos.cli.main import main; code = main(['--help']); print('torch' in sys.modules, code)"
    start = time.perf_counter()
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    print(f"kosmos --help: {time.perf_counter() - start:.3f} s")  # the goal is 0.3 s; no test of time
    *lines, last = finished.stdout.splitlines()
    assert last == "False 0"
    listed = [line.split()[0] for line in lines if re.match(r"  [a-z-]+  ", line)]
    assert listed[: len(VERBS)] == list(VERBS)


def test_no_verb_module_imports_torch() -> None:
    code = (
        "import sys; from kosmos.cli.main import VERBS, verb_parser\n"
        "for verb in VERBS: verb_parser(verb)\n"
        "print('torch' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert finished.stdout == "False\n", finished.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_two_examples(verb: str) -> None:
    text = verb_parser(verb).format_help()
    examples = re.findall(rf"^  kosmos {verb}\b.*$", text, flags=re.MULTILINE)
    assert len(examples) >= 2
    assert len(set(examples)) == len(examples)


def test_without_a_verb_the_help_and_code_2(kosmos: Command) -> None:
    finished = kosmos()
    assert finished.returncode == 2
    assert finished.stdout.startswith("usage: kosmos ")


def test_version(kosmos: Command) -> None:
    finished = kosmos("--version")
    assert (finished.returncode, finished.stdout) == (0, f"kosmos {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "there is no verb 'trian' (did you mean 'train'?); `kosmos --help` lists them"),
        (["--out", "x"], "the verb comes first, not --out; `kosmos --help` lists them"),
        (["report", "x", "--jsn"], "unexpected argument: --jsn (did you mean '--json'?); see `kosmos report --help`"),
        (["report"], "the following arguments are required: RUN; see `kosmos report --help`"),
        (["demo", "--recipe", "lnog"], "(did you mean 'long'?); see `kosmos demo --help`"),
        (["demo", "--short", "--recipe", "long"], "--short and --recipe long exclude each other"),
        (["presets", "shwo"], "(did you mean 'show'?); see `kosmos presets --help`"),
    ],
)
def test_usage_errors(kosmos: Command, arguments: list[str], message: str) -> None:
    finished = kosmos(*arguments)
    assert finished.returncode == 2
    assert one_line(finished).endswith(message)


def test_debug_shows_the_traceback(kosmos: Command) -> None:
    finished = kosmos("report", "no-such-run", "--debug")
    assert finished.returncode == 2
    assert finished.stderr.startswith("Traceback")
    assert finished.stderr.splitlines()[-1] == "kosmos: error: no-such-run: no such run directory"


def test_a_reader_that_closes_early_is_no_error() -> None:
    command = f"{sys.executable} -m kosmos presets show kosmos-1 --json | head -1; echo ${{PIPESTATUS[0]}}"
    finished = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment())
    assert (finished.stdout, finished.stderr) == ("{\n0\n", "")


def test_nor_when_the_reader_has_enough_of_a_report(tmp_path: Path) -> None:
    run = {"parameters": {"total": 1}, "steps": 1, "precision": "fp32", "seed": 1}
    notes = ["note " * 20] * 5000  # more than a pipe holds
    report = {"schema_version": 1, "kind": "kosmos-report", "run": run, "abilities": [], "warnings": notes}
    (tmp_path / "report.json").write_text(json.dumps(report))
    command = f"{sys.executable} -m kosmos report {tmp_path} | head -1 >&2; echo ${{PIPESTATUS[0]}}"
    finished = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment())
    assert (finished.stdout, finished.stderr.count("\n")) == ("0\n", 1)
