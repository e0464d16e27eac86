"""`kosmos serve` as a process: its line, its errors, its end on SIGTERM."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import Command, environment, one_line
from tests.inference.tiny import save_tiny
from tests.serving.server_process import ServerProcess, server_process

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("serve"))


def completion(server: ServerProcess, **fields: Any) -> Any:
    body = {"prompt": "an image of", "max_tokens": 120, "min_tokens": 120, **fields}
    return server.ask("POST", "/v1/completions", body)


def answered_and_waiting(server: ServerProcess) -> tuple[float, float]:
    figures = server.ask("GET", "/metrics").body.decode()
    answered = re.search(r'^kosmos_requests_total\{endpoint="/v1/completions",status="200"\} (\S+)$', figures, re.M)
    waiting = re.search(r"^kosmos_queue_length (\S+)$", figures, re.M)
    assert waiting is not None
    return 0.0 if answered is None else float(answered[1]), float(waiting[1])


def test_the_line_and_the_end(folder: Path, tmp_path: Path) -> None:
    with server_process(folder, tmp_path / "log") as server:
        base = f"http://127.0.0.1:{server.port}"
        line = f"kosmos serve: model: page {base}/, OpenAI base URL {base}/v1; Ctrl-C stops"
        assert server.logged().splitlines()[0] == line
        assert completion(server, max_tokens=3, min_tokens=0).json["model"] == "model"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.logged()


@pytest.mark.parametrize("turn", range(5))
def test_who_reads_the_line_can_connect(folder: Path, turn: int) -> None:
    """And a signal is the drain's from then on: the exit code is 0."""
    command = [sys.executable, "-m", "kosmos", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            match = re.search(r"base URL http://127\.0\.0\.1:(\d+)/v1", process.stdout.readline())
            assert match is not None
            with contextlib.closing(HTTPConnection("127.0.0.1", int(match[1]), timeout=20)) as connection:
                if turn:  # once the signal comes first
                    connection.request("GET", "/ready")
                    assert connection.getresponse().status == 200
                else:
                    connection.connect()
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_sigterm_finishes_what_was_promised(folder: Path, tmp_path: Path) -> None:
    """One slot and twelve requests in the queue: all are answered, a new one is told 503, the exit code is 0."""
    with server_process(folder, tmp_path / "log", ["--max-slots", "1"]) as server, ThreadPoolExecutor(12) as pool:
        expected = completion(server).json["choices"]
        jobs = [pool.submit(completion, server) for _ in range(11)]
        jobs.append(pool.submit(completion, server, stream=True))
        while sum(answered_and_waiting(server)) < 12:  # one more is at work, and one was answered before
            time.sleep(0.005)
        server.terminate()
        while (late := server.ask("GET", "/ready")).status == 200:
            time.sleep(0.005)
        assert (late.status, late.code) == (503, "shutting_down")
        refused = completion(server)
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "shutting_down", "30")
        answers = [job.result() for job in jobs]
        assert [answer.status for answer in answers] == [200] * 12
        assert all(answer.json["choices"] == expected for answer in answers[:-1])
        assert answers[-1].body.endswith(b"data: [DONE]\n\n")
        assert server.process.wait(20) == 0


def test_a_drain_that_is_too_short_is_told(folder: Path, tmp_path: Path) -> None:
    arguments = ["--max-slots", "1", "--drain", "0.05"]
    with server_process(folder, tmp_path / "log", arguments) as server, ThreadPoolExecutor(40) as pool:
        jobs = [pool.submit(completion, server) for _ in range(40)]
        while answered_and_waiting(server)[1] < 3:
            time.sleep(0.005)
        server.terminate()
        codes = {job.result().status for job in jobs}
        assert 503 in codes
        assert codes <= {200, 503}
        assert server.process.wait(20) == 4
        assert "answers unfinished after 0.05 s; --drain gives more time" in server.logged()


def test_two_servers_that_bind_one_port_at_once() -> None:
    """Both may bind while neither listens; the second to listen says so."""
    from kosmos.errors import UsageError
    from kosmos.serving.lifecycle import bind, listen
    from kosmos.serving.options import ServeOptions

    with bind(ServeOptions(port=0)) as first:
        options = ServeOptions(port=first.getsockname()[1])
        with bind(options) as second:
            listen(first, options)
            with pytest.raises(UsageError, match=f"cannot listen at 127.0.0.1, port {options.port}: Address already"):
                listen(second, options)


def test_a_port_in_use(folder: Path, kosmos: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = kosmos("serve", folder, "--port", port)
    assert finished.returncode == 2
    assert one_line(finished).startswith(f"cannot listen at 127.0.0.1, port {port}: Address already in use; choose")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--host", "0.0.0.0"], 2, "other machines could use the server without a key"),
        (["--port", "70000"], 2, "ports end at 65535"),
        (["--queue-size", "0"], 2, "--queue-size is 0"),
        (["--deadline", "0"], 2, "--deadline is 0.0"),
        (["--api-key-file", "missing.txt"], 2, "missing.txt: cannot read the keys: No such file or directory; --api"),
        (["--api-key-file", "."], 2, ".: cannot read the keys: Is a directory; --api-key-file names a file"),
        (["--allow-image-host", "Example.org"], 2, "--allow-image-host: 'Example.org' is no host name"),
        (["--cors-origin", "*"], 2, "--cors-origin: '*' is no origin"),
        (["--api-key-file", "empty.txt"], 2, "there is no key in it"),
        (["--host", "no.such.host.invalid", "--api-key-file", "keys.txt"], 2, "cannot listen at no.such.host.invalid"),
    ],
)
def test_errors_at_the_start(
    arguments: list[str], code: int, words: str, folder: Path, tmp_path: Path, kosmos_here: Command
) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "keys.txt").write_text("a-key-that-is-long-enough\n")
    finished = kosmos_here("serve", folder, *arguments, cwd=tmp_path)
    assert (finished.returncode, finished.stdout) == (code, "")
    assert words in one_line(finished)


def test_keys_come_from_a_file_and_the_variable(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("the-first-key-of-the-file\n\nthe-second-key\n")
    arguments = ["--api-key-file", str(file), "--no-page", "--model-name", "cat"]
    with server_process(folder, tmp_path / "log", arguments, key="the-key-of-the-variable") as server:
        for key in ("the-first-key-of-the-file", "the-second-key", "the-key-of-the-variable"):
            answer = server.ask("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
            assert answer.json["data"][0]["id"] == "cat"
        assert server.ask("GET", "/v1/models", headers={"Authorization": "Bearer the-third"}).status == 401
        assert server.ask("GET", "/").status in (401, 404)
        assert "key" not in server.logged().replace(str(file), "")


def test_help_needs_neither_torch_nor_the_extra() -> None:
    code = (
        "import sys; sys.modules['fastapi'] = sys.modules['uvicorn'] = None\n"
        "from kosmos.cli.main import main; code = main(['serve', '--help'])\n"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "kosmos serve runs/demo" in finished.stdout


def test_without_the_extra(folder: Path) -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None\n"
        f"from kosmos.cli.main import main; sys.exit(main(['serve', {str(folder)!r}]))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert finished.returncode == 2
    assert one_line(finished) == "the server needs fastapi: pip install 'kosmos[serve]'"
