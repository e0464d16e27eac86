from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import kosmos, tiny_files, tiny_run
from tests.cli.tiny_run import png
from tests.documents.running import run_document

__all__ = ["kosmos", "tiny_files", "tiny_run"]


def test_the_commands(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/serving.md, as it stands, in a folder where `runs/demo` is a small finished run."""
    for package in ("fastapi", "openai"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    shutil.copytree(tiny_run, tmp_path / "runs" / "demo")
    (tmp_path / "cat.png").write_bytes(png((200, 30, 30)))
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = run_document("docs/serving.md", tmp_path, {"8000": str(port)})
    outputs = {command.split(" ")[2].rsplit("/", 1)[1]: out for command, out in said.items() if "-s http" in command}
    assert json.loads(outputs["completions"])["model"] == "demo"
    assert {result["candidate"] for result in json.loads(outputs["score"])["results"]} == {"an animal", "a tool"}
    assert 'kosmos_requests_total{endpoint="/v1/score",status="200"} 1.0' in outputs["metrics"]
    (program,) = (out for where, out in said.items() if where.startswith("docs/"))
    first, *_, last = program.splitlines()
    assert int(first.split()[-1]) > 0
    assert last.endswith("]")
