"""examples/slurm.sbatch with stand-ins for srun and scontrol: stopped by the time limit, queued again, finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kosmos.config import TrainConfig
from kosmos.config import replace as change
from kosmos.config_files import save_config
from kosmos.runs import steps

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sbatch"
# srun: leave the process id, and become what is to be run. scontrol: this host; what is queued again is written down.
SRUN = '#!/bin/bash\nshift\necho "$SRUN_CPUS_PER_TASK" > "$STUBS/cores"\necho $$ > "$STUBS/srun.pid"\nexec "$@"\n'
SCONTROL = """#!/bin/bash
[[ $1 == show ]] && echo 127.0.0.1
[[ $1 == requeue ]] && echo "$2" >> "$STUBS/queued"
exit 0
"""
TORCHRUN = f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to run in, with the stand-ins in bin/."""
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("torchrun", TORCHRUN)):
        file = tmp_path / "bin" / name
        file.write_text(text)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def start(place: Path, *arguments: object) -> subprocess.Popen[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    slurm = {"SLURM_JOB_ID": "77", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "here", "SLURM_GPUS_ON_NODE": "2"}
    slurm["SLURM_CPUS_PER_TASK"] = "96"
    return subprocess.Popen(
        ["bash", str(SCRIPT), *map(str, arguments)],
        cwd=place,
        env={
            **os.environ,
            **slurm,
            "MASTER_PORT": str(port),
            "STUBS": str(place),
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(SCRIPT.parents[1]),
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(run: Path) -> int:
    file = run / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_a_job_stops_at_the_limit_and_goes_on(recipe: TrainConfig, place: Path) -> None:
    save_config(change(recipe, steps=60, checkpoint_every=50), place / "recipe.yaml")
    run = place / "run"
    job = start(place, "recipe.yaml", "run", "--log-every", 20)
    deadline = time.monotonic() + 120
    while lines(run) < 3 and time.monotonic() < deadline:
        assert job.poll() is None, job.communicate()[1][-3000:]
        time.sleep(0.02)
    os.kill(int((place / "srun.pid").read_text()), signal.SIGTERM)
    said, errors = job.communicate(timeout=120)
    assert job.returncode == 0, errors[-3000:]
    assert (place / "cores").read_text() == "96\n"
    [(number, _)] = steps(run)
    assert 3 <= number < 60 and f"step-{number}; into the queue again" in said
    assert (place / "queued").read_text() == "77\n"

    job = start(place, "recipe.yaml", "run", "--log-every", 20)
    said, errors = job.communicate(timeout=180)
    assert job.returncode == 0, errors[-3000:]
    assert "run: finished at step-60" in said
    found = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert found == list(range(1, 61))
    assert (place / "queued").read_text() == "77\n"


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_a_job_that_comes_no_further_is_not_queued_again(place: Path) -> None:
    (place / "bin" / "srun").write_text("#!/bin/bash\nexit 2\n")
    job = start(place, "recipe.yaml", "run")
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 2 and "came no further than the beginning" in errors
    assert not (place / "queued").exists()
    job = start(place, "recipe.yaml")
    assert "usage: sbatch" in job.communicate(timeout=60)[1] and job.returncode == 2
