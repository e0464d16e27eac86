"""The caller's side of the process that HTML is parsed in."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from typing import Any

from kosmos.data.web.extraction_process import ANSWER, REQUEST
from kosmos.data.web.settings import PageLimits
from kosmos.errors import ConfigError

TOO_SLOW = "page took too long"
CRASHED = "page crashed the parser"
UNREADABLE = "page cannot be parsed"


class Extractor:
    """Sends pages to a process of its own, and starts another when a page has killed it."""

    def __init__(self, limits: PageLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, what: str, page: bytes, charset: str = "", language: str = "") -> dict[str, Any] | str:
        """The answer to `what` ("language" or "extract") with its CPU microseconds, or why there is none."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        request = json.dumps({"what": what, "charset": charset, "language": language}).encode()
        try:
            process.stdin.write(REQUEST.pack(len(request), len(page)) + request + page)
            process.stdin.flush()
            head = process.stdout.read(ANSWER.size)
            data = process.stdout.read(ANSWER.unpack(head)[0]) if len(head) == ANSWER.size else b""
        except BrokenPipeError:
            data = b""
        if not data:
            return self._cause_of_death()
        said: dict[str, Any] = json.loads(data)
        return UNREADABLE if "error" in said else said

    def check(self) -> None:
        """Raise ConfigError when not even a small page can be parsed, so that not every page is blamed for it."""
        if isinstance(self.ask("language", b"<html><body><p>A small page of text.</p></body></html>"), str):
            self.close()
            raise ConfigError(
                f"the process that parses pages cannot work with {self._limits.memory_bytes:,} bytes of memory and"
                f" {self._limits.cpu_seconds:g} s a page; give it more"
            )

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            limits = [str(self._limits.cpu_seconds), str(self._limits.memory_bytes)]
            # One thread: allocators set memory aside for each, and the address space is limited.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kosmos.data.web.extraction_process", *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process

    def _cause_of_death(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        self.close()
        return TOO_SLOW if code in (-signal.SIGPROF, -signal.SIGALRM) else CRASHED


_extractors: dict[tuple[int, PageLimits], Extractor] = {}


def extractor(limits: PageLimits) -> Extractor:
    """The extractor of this process; all steps with the same limits share it. Raises ConfigError without parsers."""
    key = (os.getpid(), limits)  # a forked child must not talk to its parent's process
    if key not in _extractors:
        _check_installed()
        made = Extractor(limits)
        made.check()
        _extractors[key] = made
        atexit.register(made.close)
    return _extractors[key]


def _check_installed() -> None:
    from importlib.util import find_spec

    for name in ("lxml", "resiliparse", "trafilatura"):
        if find_spec(name) is None:
            raise ConfigError(f"web pages need {name}: pip install 'kosmos[web]'")
