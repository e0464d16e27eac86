"""From exceptions to exit codes and one line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kosmos.cli.exit_codes import classify, report
from kosmos.errors import ConfigError, DataError, ImageError, Interrupted, KosmosError, StorageError, UsageError
from tests.cli.process import one_line


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KosmosError("a"), 1, "a"),
        (UsageError("a"), 2, "a"),
        (ConfigError("a"), 2, "a"),
        (DataError("a"), 3, "a"),
        (ImageError("a"), 3, "a"),
        (Interrupted("a"), 4, "a"),
        (StorageError("a"), 5, "a"),
        (KeyboardInterrupt(), 4, "interrupted"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 5, "reading or writing failed: No space left on device"),
        (
            OSError(errno.EFBIG, os.strerror(errno.EFBIG), "model"),
            5,
            "reading or writing failed: model: File too large",
        ),
        (RuntimeError("I/O error: File too large (os error 27)"), 5, "reading or writing failed: File too large"),
        (MemoryError(), 1, "out of memory; try smaller batches or a smaller model"),
        (torch.OutOfMemoryError("CUDA"), 1, "out of memory; try smaller batches or a smaller model"),
        (RuntimeError("DefaultCPUAllocator: no"), 1, "out of memory; try smaller batches or a smaller model"),
        (ValueError("b"), 1, "internal error: ValueError: b (--debug shows where; please report it)"),
    ],
)
def test_classify(error: BaseException, code: int, message: str) -> None:
    assert classify(error) == (code, message)


def test_the_cause_decides() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("writer failed") from error
    except RuntimeError as error:
        assert classify(error)[0] == 5


def test_an_import_that_was_interrupted() -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as stop:
            raise ImportError("Importing the numpy C-extensions failed") from stop
    except ImportError as error:
        assert classify(error) == (4, "interrupted")
    assert classify(ImportError("libtorch.so"))[0] == 1


_LOSES_IT = "try:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    pass\n"


@pytest.mark.parametrize(
    ("module", "code"),
    [
        (_LOSES_IT + "raise ImportError('could not import module \"datetime\"')\n", 4),
        (_LOSES_IT + "raise TypeError('expected a message argument')\n", 4),
        ("raise ImportError('libtorch.so')\n", 1),
        (_LOSES_IT + "def later(): raise TypeError('a fault of ours')\n", 1),
    ],
)
def test_an_import_that_loses_the_interrupt(module: str, code: int, tmp_path: Path) -> None:
    """As C modules of numpy and torch do: another error in its place, without a chain."""
    (tmp_path / "loses_it.py").write_text("import os, signal\n" + module)
    program = (
        "from kosmos.cli import main\n"
        "def importing(arguments):\n"
        "    import loses_it\n"
        "    loses_it.later()\n"
        "main._dispatch = importing\n"
        "main.entry_point()\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2])])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", program]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert finished.returncode == code
    assert (one_line(finished) == "interrupted") is (code == 4)


def test_several_problems_of_a_configuration_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ConfigError("a: wrong\nb:  wrong too"), debug=False) == 2
    assert capsys.readouterr().err == "kosmos: error: a: wrong\nkosmos: error: b: wrong too\n"
    assert report(ValueError("a\n  b"), debug=False) == 1
    assert capsys.readouterr().err.startswith("kosmos: error: internal error: ValueError: a; b (--debug")


def test_ranks_say_who_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for rank in ("0", "63"):
        monkeypatch.setenv("RANK", rank)
        for error in (DataError("a.tar: cut short"), Interrupted("saved after step 3")):
            assert report(error, debug=False) == error.exit_code
        said.append(capsys.readouterr().err)
    assert said == [
        "kosmos: error: a.tar: cut short\nkosmos: error: saved after step 3\n",
        "kosmos: error: rank 63: a.tar: cut short\n",
    ]


def test_sigterm_outside_the_loops_is_one_line_and_exit_code_4() -> None:
    program = (
        "import os, signal\n"
        "from kosmos.cli import main\n"
        "main._dispatch = lambda arguments: os.kill(os.getpid(), signal.SIGTERM)\n"
        "main.entry_point()\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (finished.returncode, finished.stdout) == (4, "")
    assert one_line(finished) == "interrupted"
