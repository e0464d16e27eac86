"""64 clients for two minutes on a real server: no wrong or mixed answer, queue bounded, memory flat, SIGTERM kept.

    python -m benchmarks.serving.load [--clients 64] [--seconds 120] [--questions 300] [--run RUN] [--small]

A server process (`kosmos serve`, its queue shorter than the number of clients) answers a mix of chats, pictures,
streams, completions, draws, beams and scores on loopback; a tenth of the requests are left before their answer is
complete. Each right answer was computed before, by an engine of its own that was asked that question alone. After the
seconds SIGTERM is sent while all clients go on: what was let in must be answered, what comes after must be refused, and
the server must leave with 0. Without --run a tiny random model is served, as in the tests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.data.measure import finish, table
from benchmarks.serving.clients import Clients, Notes
from benchmarks.serving.questions import KINDS, Author, Question
from kosmos.api import load
from kosmos.processor import Processor
from tests.inference.tiny import tiny_model, tiny_tokenizer

QUEUE = 24
SLOTS = 24
_MOST_WAITING = QUEUE + SLOTS  # what is let in while slots are free counts as waiting until its prompt is read
DRAIN_S = 30
FLAT_BYTES = 24 << 20  # of resident memory after the warm-up: the allocators' own coming and going
_POSITIONS = 256


@dataclass
class Watched:
    """What was seen of the server once a second: resident bytes, waiting requests."""

    resident: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    args = _arguments(arguments)
    seconds = 4.0 if args.small else args.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = args.run or _save_tiny(folder)
        questions = _questions(run, 60 if args.small else args.questions, args.seed)
        port = _free_port()
        log = folder / "log.txt"
        with log.open("wb") as output:
            server = subprocess.Popen(_command(run, port), stdout=output, stderr=output)
        try:
            notes, watched, code, drain = asyncio.run(_load(server, port, questions, args.clients, seconds, args.seed))
        finally:
            if server.poll() is None:
                server.kill()
            server.wait()
        logged = log.read_text("utf-8", "replace")
    return _report(args.clients, seconds, notes, watched, code, drain, logged)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run", type=Path, help="a run or a model folder (default: a tiny random model)")
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes; the figures mean little")
    return parser.parse_args(arguments)


def _save_tiny(folder: Path) -> Path:
    tokenizer = tiny_tokenizer(folder)
    model = tiny_model(tokenizer, max_positions=_POSITIONS)
    model.save_pretrained(folder / "model", Processor(tokenizer, model.config))
    return folder / "model"


def _questions(run: Path, count: int, seed: int) -> list[Question]:
    author = Author(load(run), random.Random(seed))
    return [author.question(KINDS[number % len(KINDS)]) for number in range(count)]


def _command(run: Path, port: int) -> list[str]:
    limits = ["--queue-size", str(QUEUE), "--max-slots", str(SLOTS), "--drain", str(DRAIN_S)]
    return [sys.executable, "-m", "kosmos", "serve", str(run), "--port", str(port), *limits]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def _load(
    server: subprocess.Popen[bytes], port: int, questions: list[Question], count: int, seconds: float, seed: int
) -> tuple[Notes, Watched, int | None, float]:
    """The clients' notes, what was watched, the server's exit code (None: it never left) and seconds of its drain."""
    url = f"http://127.0.0.1:{port}"
    await _until_ready(server, url)
    clients = Clients(url, questions, seed)
    running = asyncio.create_task(clients.run(count))
    watched = Watched()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not running.done():
        watched.resident.append(_resident(server.pid))
        watched.waiting.append(await asyncio.to_thread(_waiting, url))
        await asyncio.sleep(min(1.0, seconds / 10))
    clients.stopping.set()
    start = time.monotonic()
    server.send_signal(signal.SIGTERM)
    while server.poll() is None and time.monotonic() - start < 2 * DRAIN_S:
        await asyncio.sleep(0.05)
    drain = time.monotonic() - start
    clients.end()
    await running
    return clients.notes, watched, server.poll(), drain


async def _until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"the server left with {server.returncode} before it was ready")
        with contextlib.suppress(OSError):
            await asyncio.to_thread(urllib.request.urlopen, f"{url}/ready")
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("the server was not ready within a minute")


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _waiting(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        found = re.search(r"^kosmos_queue_length (\S+)", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def _report(
    count: int, seconds: float, notes: Notes, watched: Watched, code: int | None, drain: float, logged: str
) -> dict[str, Any]:
    rows = [_row(kind, notes.seconds[kind]) for kind in KINDS if notes.seconds[kind]]
    every = [value for values in notes.seconds.values() for value in values]
    rows.append(_row("all", every))
    print(table(rows, ["kind", "answers", "p50 s", "p99 s", "slowest s"]))
    print(f"\noutcomes: {dict(notes.outcomes)}")
    quarter = max(1, len(watched.resident) // 4)
    warm, last = median(watched.resident[quarter : 2 * quarter + 1]), median(watched.resident[-quarter:])
    growth = int(last - warm)
    print(f"resident: {warm / 1e6:.0f} MB after the warm-up, {last / 1e6:.0f} MB at the end")
    print(
        f"queue: at most {max(watched.waiting)} of {_MOST_WAITING} waited; left with {code} {drain:.1f} s after SIGTERM"
    )
    faults = [*notes.wrong, *notes.broken]
    if max(watched.waiting) > _MOST_WAITING:
        faults.append(f"{max(watched.waiting)} requests waited, more than {_MOST_WAITING}")
    if growth > FLAT_BYTES and seconds >= 60:
        faults.append(f"resident memory grew by {growth / 1e6:.0f} MB")
    if code != 0:
        faults.append(f"the server left with {code} after SIGTERM")
    if "Traceback" in logged:
        faults.append("a traceback in the server's log:\n" + logged[logged.index("Traceback") :][:3000])
    for fault in faults[:20]:
        print(f"FAULT {fault}")
    result: dict[str, Any] = {
        "clients": count,
        "seconds": seconds,
        "answers": len(every),
        "rate": len(every) / seconds,
        "p50_s": rows[-1]["p50 s"],
        "p99_s": rows[-1]["p99 s"],
        "outcomes": dict(notes.outcomes),
        "wrong": len(notes.wrong),
        "broken": len(notes.broken),
        "most_waiting": max(watched.waiting),
        "most_allowed_to_wait": _MOST_WAITING,
        "resident_growth_bytes": growth,
        "exit_code": code,
        "drain_s": drain,
        "faults": faults,
    }
    finish("serving.load", result)
    return result


def _row(kind: str, seconds: list[float]) -> dict[str, Any]:
    cuts = quantiles(seconds, n=100) if len(seconds) > 1 else [*seconds, 0.0] * 50
    return {"kind": kind, "answers": len(seconds), "p50 s": cuts[49], "p99 s": cuts[98], "slowest s": max(seconds)}


if __name__ == "__main__":
    sys.exit(1 if main()["faults"] else 0)
