"""What a rank is doing at this moment, in a file that outlives it; and deaths planned from within.

Each rank writes to TRACE.RANK, in places of a fixed size: what its main thread does, what threads behind it do, and the
last operation on the file system inside a save. The hooks stand around the trainer's functions, and change nothing.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kosmos.model import weights
from kosmos.training import checkpoint, joint_stream, loop, optimizer, run_logs, step

_SIZE = 160
_MAIN, _BEHIND, _OPERATION = range(3)
_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir", "os.fsync"}
_OPERATIONS |= {"shutil.rmtree", "tempfile.mkdtemp", "tempfile.mkstemp"}


class Trace:
    """The hooks of one rank. `die_at` is the number of the operation inside saves before which all ranks are killed."""

    def __init__(self, file: Path, rank: int, die_at: int = 0) -> None:
        self._file = os.open(f"{file}.{rank}", os.O_CREAT | os.O_RDWR | os.O_TRUNC)
        self._labels: dict[int, list[str]] = {_MAIN: [], _BEHIND: []}
        self._saving = {_MAIN: 0, _BEHIND: 0}
        self._operations = 0
        self._die_at = die_at
        self._die_in: Callable[[str], bool] = lambda label: False
        self._die: Callable[[], None] = lambda: None
        self.write(_MAIN, "start")

    def write(self, place: int, text: str) -> None:
        os.pwrite(self._file, text.encode()[:_SIZE].ljust(_SIZE), place * _SIZE)

    def die_in(self, label: str, die: Callable[[], None], after: int = 0) -> None:
        """Have `die` called when something of this label begins, the first time after `after` others."""
        seen = 0

        def now(found: str) -> bool:
            nonlocal seen
            seen += found.startswith(label)
            return found.startswith(label) and seen > after

        self._die_in, self._die = now, die

    def install(self) -> None:
        """Put the hooks around the trainer's functions."""
        self._around(loop, "latest_checkpoint", "load: check")
        self._around(loop, "load_model", "load: weights")
        self._around(loop, "load_optimizer", "load: optimizer")
        self._around(loop, "open_stream", "load: data")
        self._around(loop, "RunLogs", "load: cut logs back")
        self._around(joint_stream.JointStream, "_make", "data: make rows")
        self._around(joint_stream.JointStream, "next", "data: agree")
        self._around(loop, "train_step", lambda *args, **options: f"step {options['step']}: backward, sums")
        self._around(step.TrainingModule, "forward", lambda *args: f"{self._step()}: forward")
        self._around(optimizer.Optimizer, "clip", lambda *args: f"{self._step()}: clip")
        self._around(optimizer.Optimizer, "step", lambda *args: f"{self._step()}: apply")
        self._around(run_logs.RunLogs, "metrics", "log: metrics")
        self._around(run_logs.RunLogs, "sync", "log: sync")
        self._around(checkpoint.Checkpoints, "wait", "wait for a save")
        saves = {
            "save": "save: gather and copy",
            "_prepare": "save: folder",
            "_write_optimizer": "save: optimizer",
            "_finish": "save: commit",
            "_commit_behind": "save: optimizer",
        }
        for name, label in saves.items():
            self._around(checkpoint.Checkpoints, name, label)
        self._around(weights, "save", "save: weights")
        self._around(checkpoint, "write_manifest", "save: manifest")
        self._around(checkpoint, "sync_tree", "save: sync")
        self._around(checkpoint, "_remove", "save: remove the oldest")
        fsync = os.fsync

        def audited(handle: Any) -> None:
            self._count("os.fsync", (handle,))
            fsync(handle)

        os.fsync = audited  # type: ignore[assignment]
        sys.addaudithook(self._count)

    def _step(self) -> str:
        labels = self._labels[_MAIN]
        return next((label.partition(":")[0] for label in labels if label.startswith("step ")), "validation")

    def _around(self, owner: Any, name: str, label: str | Callable[..., str]) -> None:
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def traced(*args: Any, **options: Any) -> Any:
            text = label if isinstance(label, str) else label(*args, **options)
            place = _MAIN if threading.current_thread() is threading.main_thread() else _BEHIND
            saving = text.startswith("save")
            self._labels[place].append(text)
            self._saving[place] += saving
            self.write(place, text)
            if self._die_in(text):
                self._die()
            try:
                return plain(*args, **options)
            finally:
                self._saving[place] -= saving
                self._labels[place].pop()
                rest = self._labels[place]
                self.write(place, rest[-1] if rest else ("between" if place == _MAIN else ""))

        setattr(owner, name, traced)

    def _count(self, event: str, args: tuple[Any, ...]) -> None:
        """Called before operations on the file system (and everything else that Python audits)."""
        if event not in _OPERATIONS:
            return
        place = _MAIN if threading.current_thread() is threading.main_thread() else _BEHIND
        if not self._saving[place]:
            return
        self._operations += 1
        what = str(args[0]) if args else ""
        self.write(_OPERATION, f"{self._operations} {event} {what[-100:]}")
        if self._operations == self._die_at:
            os.killpg(os.getpgid(0), signal.SIGKILL)


def doing(file: Path, ranks: int) -> list[tuple[str, str, str]]:
    """What each rank was last doing: (main thread, behind it, operation inside a save)."""
    found = []
    for rank in range(ranks):
        try:
            data = Path(f"{file}.{rank}").read_bytes().ljust(3 * _SIZE)
        except FileNotFoundError:
            data = b"start".ljust(3 * _SIZE)
        parts = [data[place * _SIZE : (place + 1) * _SIZE].decode(errors="replace").strip(" \0") for place in range(3)]
        found.append((parts[0] or "start", parts[1], parts[2]))
    return found


def operations(file: Path, ranks: int) -> int:
    """The number of operations inside saves, of the rank that made most."""
    return max(int((operation or "0").split()[0]) for _, _, operation in doing(file, ranks))


def kind(phases: list[tuple[str, str, str]]) -> str:
    """One word for what a run was doing: save when any rank was, then step, data, load, start, between."""
    if any(behind or main.startswith(("save", "wait")) for main, behind, _ in phases):
        return "save"
    words = [main.split()[0].rstrip(":") for main, _, _ in phases]
    return next((word for word in ("step", "data", "log", "load", "start") if word in words), "between")


def told(phases: list[tuple[str, str, str]]) -> str:
    """The phases of all ranks in a line."""
    return "; ".join(main + (f" (behind: {behind})" if behind else "") for main, behind, _ in phases)
