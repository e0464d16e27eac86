"""Runs the blocks of a document in order, in a folder where the files that they speak of lie."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kosmos.cli.main import main
from tests.cli.process import environment
from tests.documents.reading import REPOSITORY, Block, blocks

# Of the shell, in a `kosmos` line: what only bash can do. Such a line runs as a process of its own.
_SHELL = re.compile(r"[|<>&;$]")
# These keep what they know of relative paths for the life of a process, and each test has another working directory.
_OWN_PROCESS = ("kosmos data pages", "kosmos data dedup", "kosmos data decontaminate")


def run_document(
    name: str, folder: Path, smaller: Mapping[str, str] | None = None, leave_out: tuple[str, ...] = ()
) -> dict[str, str]:
    """Run every `sh`, `console` and `python` block of a document; titled blocks are written first.

    `smaller` replaces budgets ("steps: 200" -> "steps: 2"), in files and commands; each must occur. `leave_out` are
    beginnings of commands that another test runs. The working directory must be `folder`. Returns what each command
    printed. A command that ends in `&` is a server, which `kill %1` must end with code 0.
    """
    said: dict[str, str] = {}
    servers: list[subprocess.Popen[bytes]] = []
    names: dict[str, Any] = {"__name__": "__main__"}
    used: set[str] = set()

    def shrink(text: str) -> str:
        for full, small in (smaller or {}).items():
            if full in text:
                used.add(full)
                text = text.replace(full, small)
        return text

    try:
        for block in blocks(REPOSITORY / name):
            text = shrink(block.text)
            if block.title:
                (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
                (folder / block.title).write_text(text, encoding="utf-8")
            elif block.language == "sh":
                for command in block.commands:
                    if command.endswith("&"):
                        servers.append(start(shrink(command.rstrip("& "))))
                    elif command == "kill %1":
                        servers[-1].terminate()
                        assert servers.pop().wait(60) == 0, block.where
                    elif not command.startswith(("make", "source", *leave_out)):
                        said[command] = run_command(shrink(command), block.where)
            elif block.language == "console":
                check_console(block)
            elif block.language == "python":
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(compile(text, block.where, "exec"), names)
                said[block.where] = out.getvalue()
    finally:
        for server in servers:
            server.kill()
            server.wait()
    assert used == set(smaller or {}), f"{name}: never replaced: {set(smaller or {}) - used}"
    return said


def run_command(command: str, where: str) -> str:
    """Run one line and return its standard output: `kosmos` inside this process, where torch is loaded already."""
    if command.startswith("kosmos ") and not command.startswith(_OWN_PROCESS) and not _SHELL.search(command):
        words = shell('printf "%s\\0" ' + command.removeprefix("kosmos "), where)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words.split("\0")[:-1])
        assert code == 0, f"{where}: {command}: {err.getvalue()}"
        return out.getvalue()
    return shell(command, where)


def shell(command: str, where: str) -> str:
    """Run one line by bash, with this environment's programs in front. Returns its standard output."""
    finished = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command], capture_output=True, text=True, timeout=120, env=_settings()
    )
    assert finished.returncode == 0, f"{where}: {command}: {finished.stderr}"
    return finished.stdout


def start(command: str) -> subprocess.Popen[bytes]:
    """A command that goes on beside the others: a server. What it says is not kept."""
    return subprocess.Popen(
        ["bash", "-c", f"exec {command}"], env=_settings(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _settings() -> dict[str, str]:
    settings = environment()
    settings["PATH"] = f"{Path(sys.executable).parent}:{settings['PATH']}"
    settings["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), settings.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return settings


def check_console(block: Block) -> None:
    """Each `$ command` prints the lines that follow it."""
    parts = re.split(r"^\$ (.*)$", block.text, flags=re.MULTILINE)
    assert not parts[0].strip() and len(parts) >= 3, f"{block.where}: a console block begins with `$ command`"
    for command, shown in zip(parts[1::2], parts[2::2], strict=True):
        assert run_command(command, block.where).strip() == shown.strip(), f"{block.where}: {command}"
