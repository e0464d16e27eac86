"""schemathesis on the running server's own OpenAPI document: no 5xx, and every answer as the document says.

    KOSMOS_SCHEMATHESIS_EXAMPLES=200 pytest tests/serving/test_schemathesis.py

makes at least so many cases of each operation; without it there are few.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inference.tiny import save_tiny
from tests.serving.server_process import KEY, REPOSITORY, ServerProcess, server_process

pytest.importorskip("schemathesis", reason="schemathesis is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

EXAMPLES = int(os.environ.get("KOSMOS_SCHEMATHESIS_EXAMPLES", "5"))
OPERATIONS = 8
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)  # positive_data_acceptance is left out: that <image> and the pictures are equally many, no schema can say


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with server_process(save_tiny(tmp_path), tmp_path / "log.txt", key=KEY) as running:
        yield running


@pytest.mark.timeout(1800)
def test_every_operation(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"]
    command += ["--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-color"]
    command += ["--header", f"Authorization: Bearer {KEY}", "--seed", "1", "--generation-database", "none"]
    command += ["--warnings", "off"]
    paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "SCHEMATHESIS_HOOKS": "tests.serving.schemathesis_hooks"}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stdout[-10_000:] + ran.stderr[-2000:]
    assert f"Tested: {OPERATIONS}" in ran.stdout
    logged = server.logged()
    assert "Traceback" not in logged
    # What takes no input is asked a few times only; cases that no client could send do not reach the server.
    for operation in (
        "POST /v1/chat/completions",
        "POST /v1/completions",
        "POST /v1/score",
        "GET /v1/models/{model_id}",
    ):
        assert logged.count(operation) >= EXAMPLES, operation
    # Nothing is shown by requests that are all refused: the hooks make some that the engine answers.
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/score"):
        answered = [int(status) for status in re.findall(rf"POST {path} (\d+)", logged)]
        assert answered.count(200) >= EXAMPLES // 4 + 1 and max(answered) < 500, path
    for path in ("/v1/models", "/health", "/ready", "/metrics"):
        assert {server.ask("GET", path).status for _ in range(EXAMPLES)} == {200}, path
    assert server.ask("GET", "/health").json == {"status": "ok"}
