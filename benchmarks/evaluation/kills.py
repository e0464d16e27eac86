"""An evaluation killed and resumed equals one that was left alone: SIGKILL at random moments, then a comparison.

    python -m benchmarks.evaluation.kills [--kills 20] [--seed 1]

`kosmos eval` runs as users start it, alone or under torchrun with 2 and 3 processes, on made-up files of all 21
datasets and a small random model. At a random moment every process of it is killed, or, one time in four, torchrun
alone, whose ranks live on for a while; then the same command is started with another number of processes and of threads
for each, killed again, and at last left to end. metrics.json and every file of samples/ must be, byte for byte, those
of one process that was left alone.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from benchmarks.training.crash.processes import free_port
from tests.evaluation.small_model import save_small, write_datasets

_ROOT = Path(__file__).parents[2]
_MARK = "KOSMOS_KILLS"
_RANKS = (1, 2, 3)
# So many of all kills come before any work is done, and after all of it; and are of torchrun alone.
_EARLY, _LATE, _LAUNCHER = 0.1, 0.2, 0.25
_SMALL = ["--tasks", "boolq,rendered_sst2,vizwiz"]
_WHOLE = ["--tasks", "table1", "--shots", "0,1,2,4,8"]


@dataclass(frozen=True)
class Setting:
    """What is evaluated, and how long it takes when it is left alone: until it begins to ask, and from then on."""

    model: Path
    data: Path
    options: list[str]
    groups: int = 0
    startup: float = 0.0
    work: float = 0.0

    def command(self, out: Path) -> list[str]:
        words = ["eval", str(self.model), "--data", str(self.data), "--out", str(out), "--quiet", *self.options]
        return ["-m", "kosmos", *words]


class Launch:
    """One start of the command on some ranks, known by a mark in the environment of all its processes."""

    def __init__(self, setting: Setting, out: Path, ranks: int, mark: str, threads: int = 1) -> None:
        self.ranks, self.log = ranks, out.with_suffix(".log")
        self._mark = f"{_MARK}={mark}".encode()
        words = setting.command(out)
        if ranks > 1:
            port = f"--master-port={free_port()}"
            words = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", port, *words]
        quiet = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(_ROOT), _MARK: mark}
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words], cwd=_ROOT, env={**os.environ, **quiet}, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self, seconds: float = 600) -> int:
        return self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to every process of it; torchrun's ranks are not in its process group."""
        while pids := self._alive():
            for pid in pids:
                _kill(pid)
            time.sleep(0.005)
        self._process.wait()

    def kill_launcher(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for_orphans(self, seconds: float = 120) -> None:
        """Ranks without a launcher end by themselves. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while self._alive():
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"ranks live on {seconds:g} s after their launcher was killed")
            time.sleep(0.05)

    def _alive(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self._mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                continue  # ended meanwhile, or not ours
        return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def finished_groups(out: Path) -> int:
    """How many closing lines there are."""
    return sum(path.read_bytes().count(b'"end": ') for path in (out / "responses").glob("rank-*.jsonl"))


def state(out: Path, groups: int) -> str:
    """What the kill hit, by what lies there."""
    if not (out / "plan.json").exists():
        return "starting"
    if finished_groups(out) >= groups:
        if not (out / "samples").exists():
            return "all asked, nothing measured"
        return "after metrics.json" if (out / "metrics.json").exists() else "writing samples and metrics"
    for path in (out / "responses").glob("rank-*.jsonl"):
        lines = path.read_bytes().split(b"\n")
        if lines[-1] or (len(lines) > 1 and b'"end": ' not in lines[-2]):
            return "writing a group's responses"
    return "asking the model"


def results(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in [*(out / "samples").iterdir(), out / "metrics.json"]}


class Trials:
    """The kills so far, and what came of them."""

    def __init__(self, folder: Path, setting: Setting, reference: dict[str, bytes], seed: int) -> None:
        self.folder, self.setting, self.reference = folder, setting, reference
        self.random = random.Random(seed)
        self.hit: Counter[str] = Counter()
        self.kills = self.runs = self.launchers = self.written = 0
        self.failures: list[str] = []

    def run(self, kills: int) -> None:
        """One evaluation, killed so often at most, and then left to end."""
        self.runs += 1
        out = self.folder / f"run-{self.runs}"
        said: list[str] = []
        ranks = self.random.choice(_RANKS)
        orphaned: list[Launch] = []
        for attempt in range(kills):
            launch = Launch(self.setting, out, ranks, f"{out}-{attempt}", self._threads(out))
            if not self._wait_for_moment(launch, out):
                break
            launcher = launch.ranks > 1 and self.random.random() < _LAUNCHER
            if launcher:
                launch.kill_launcher()
                orphaned.append(launch)
                self.launchers += 1
            else:
                launch.kill()
            self.kills += 1
            hit = state(out, self.setting.groups)
            self.hit[hit] += 1
            said.append(f"{ranks}{' (torchrun alone)' if launcher else ''}: {hit}")
            ranks = self.random.choice([number for number in _RANKS if number != ranks])
            if (out / "metrics.json").exists():
                break  # there is nothing left to hit
        last = Launch(self.setting, out, ranks, f"{out}-last", self._threads(out))
        code = last.wait()
        for launch in orphaned:
            launch.wait_for_orphans()
        self.written += finished_groups(out)
        problem = self._compare(out, code)
        if problem:
            said_last = [line for line in last.log.read_text().splitlines() if "error" in line.lower()]
            self.failures.append("\n".join([f"run {self.runs}: {problem}", *said_last[-20:]]))
        print(f"run {self.runs}: {'; '.join(said)}; ended on {ranks}: {problem or 'equal'}", flush=True)

    def _threads(self, out: Path) -> int:
        """The first start settles them; what later ones are told must not matter."""
        return self.random.choice([1, 2]) if (out / "plan.json").exists() else 1

    def _wait_for_moment(self, launch: Launch, out: Path) -> bool:
        """Wait until a random moment; False when the run ended before."""
        chance, setting = self.random.random(), self.setting
        if chance < _EARLY:
            return _sleep(launch, self.random.uniform(0, setting.startup))
        done = finished_groups(out)
        if not _until(launch, lambda: finished_groups(out) > done or _measuring(out, setting)):
            return False
        if chance < _EARLY + _LATE:
            if not _until(launch, lambda: finished_groups(out) >= setting.groups):
                return False
            return _sleep(launch, self.random.uniform(0, 0.2))
        left = max(0.0, 1 - done / setting.groups)
        return _sleep(launch, self.random.uniform(0, setting.work * left / launch.ranks))

    def _compare(self, out: Path, code: int) -> str:
        if code:
            return f"exit code {code}"
        found = results(out)
        if set(found) != set(self.reference):
            return f"other files: {sorted(set(found) ^ set(self.reference))}"
        different = [name for name, data in found.items() if data != self.reference[name]]
        return f"different: {', '.join(different)}" if different else ""


def _measuring(out: Path, setting: Setting) -> bool:
    return finished_groups(out) >= setting.groups


def _until(launch: Launch, reached: Any) -> bool:
    """Wait until `reached()`; False when the run ended first."""
    while not reached():
        if launch.ended():
            return False
        time.sleep(0.002)
    return True


def _sleep(launch: Launch, seconds: float) -> bool:
    end = time.monotonic() + seconds
    return _until(launch, lambda: time.monotonic() >= end)


def leave_alone(setting: Setting, out: Path) -> tuple[Setting, dict[str, bytes]]:
    """The undisturbed run on one process: what it takes, and its results. Raises RuntimeError when it fails."""
    begin = time.monotonic()
    launch = Launch(setting, out, 1, str(out))
    _until(launch, lambda: finished_groups(out) > 0)
    startup = time.monotonic() - begin
    if launch.wait():
        raise RuntimeError(f"the evaluation left alone failed: {launch.log.read_text()[-2000:]}")
    work = time.monotonic() - begin - startup
    made = Setting(setting.model, setting.data, setting.options, finished_groups(out), startup, work)
    return made, results(out)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--small", action="store_true", help="three datasets only")
    args = options.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kosmos-kills-") as place:
        folder = Path(place)
        data = write_datasets(folder / "data", *(["boolq", "rendered_sst2", "vizwiz"] if args.small else []))
        setting = Setting(save_small(folder, hidden_size=256), data, _SMALL if args.small else _WHOLE)
        setting, reference = leave_alone(setting, folder / "alone")
        print(f"left alone: {setting.groups} groups, {setting.startup:.1f} s to begin, {setting.work:.1f} s of work")
        trials = Trials(folder, setting, reference, args.seed)
        while trials.kills < args.kills and trials.runs < 2 * args.kills:
            trials.run(min(args.kills - trials.kills, trials.random.randint(2, 4)))
    for failure in trials.failures:
        print(failure)
    result = {
        "kills": trials.kills,
        "of_torchrun_alone": trials.launchers,
        "runs": trials.runs,
        "files_compared": len(reference),
        "hit": dict(trials.hit.most_common()),
        "groups": setting.groups * trials.runs,
        "groups_written": trials.written,
        "different": len(trials.failures),
    }
    measure.finish("evaluation.kills", result)
    return result


if __name__ == "__main__":
    raise SystemExit(1 if main()["different"] else 0)
