"""Two runs do not train into one folder; a dead one is in nobody's way."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kosmos.errors import UsageError
from kosmos.training.run_lock import RunLock

_HOLD = """
import sys, time
from pathlib import Path
from kosmos.training.run_lock import RunLock

with RunLock() as lock:
    lock.take(Path(sys.argv[1]))
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with RunLock() as lock, pytest.raises(UsageError, match="another process trains here"):
            lock.take(tmp_path)
        other.send_signal(signal.SIGKILL)
    with RunLock() as lock:
        lock.take(tmp_path)
        lock.take(tmp_path)
        with RunLock() as second, pytest.raises(UsageError, match=f"{tmp_path}: another process"):
            second.take(tmp_path)
    with RunLock() as lock:
        lock.take(tmp_path)
    assert list(tmp_path.iterdir()) == []
