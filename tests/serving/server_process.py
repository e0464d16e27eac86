"""`kosmos serve` as a process of its own on loopback, and clients that say what no library would."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = "a-key-of-the-tests-0123456789"
_START_SECONDS = 60.0


@dataclass
class Answer:
    """Status, headers with small names, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error's code; the answer must have the form of OpenAI's errors."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"} and "\n" not in error["message"]
        code: str | None = error["code"]
        return code


class ServerProcess:
    """One running server. `key` is sent with every `ask` unless its headers say otherwise."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, key: str | None, log: Path) -> None:
        self.process = process
        self.port = port
        self.key = key
        self.log = log

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """One request on a connection of its own. `body`: bytes as they are, anything else as JSON; a header None is
        left out."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent: dict[str, str | None] = {} if data is None else {"Content-Type": "application/json"}
        if self.key is not None:
            sent["Authorization"] = f"Bearer {self.key}"
        sent |= headers or {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, data, {name: value for name, value in sent.items() if value is not None})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def raw(self, *pieces: bytes, pause: float = 0.0, timeout: float = 30.0) -> bytes:
        """What comes back for bytes as they are, until the server closes or `timeout` passes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            with contextlib.suppress(OSError):  # the server may have closed while we were sending
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            return self.until_closed(connection)

    @staticmethod
    def until_closed(connection: socket.socket) -> bytes:
        received = bytearray()
        with contextlib.suppress(OSError):
            while chunk := connection.recv(1 << 16):
                received += chunk
        return bytes(received)

    def resident(self) -> int:
        """Bytes of memory that the process holds now."""
        return _memory(self.process.pid, "VmRSS")

    def peak(self) -> int:
        """The most bytes it held since `forget_peak`."""
        return _memory(self.process.pid, "VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def logged(self) -> str:
        return self.log.read_text("utf-8", "replace")


@contextlib.contextmanager
def server_process(
    folder: Path, log: Path, arguments: Sequence[str] = (), key: str | None = None
) -> Iterator[ServerProcess]:
    """`kosmos serve folder` on a free port of loopback, ready to answer; `log` takes what it prints."""
    port = free_port()
    command = [sys.executable, "-m", "kosmos", "serve", str(folder), "--port", str(port), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if key is not None:
        environment["KOSMOS_API_KEY"] = key
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=REPOSITORY, env=environment)
    server = ServerProcess(process, port, key, log)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(server: ServerProcess) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise AssertionError(f"the server left with {server.process.returncode}:\n{server.logged()}")
        with contextlib.suppress(OSError):
            if server.ask("GET", "/ready").status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"the server was not ready in {_START_SECONDS:g} s:\n{server.logged()}")


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"no {name} of process {pid}")
