"""Whether SIGINT or SIGTERM arrived, for imports that lose the KeyboardInterrupt.

numpy's C modules import `datetime` by PyCapsule_Import, which puts an ImportError without a cause in its place; torch's
may end with a TypeError. A handler of our own would tell too, but asyncio takes Ctrl-C over from Python's handler only.
"""

from __future__ import annotations

import os
import signal
import traceback

from kosmos.errors import KosmosError

_pipe: tuple[int, int] | None = None


def listen() -> None:
    """Note from now on which signals arrive; in the main thread only."""
    global _pipe
    if _pipe is None:
        _pipe = os.pipe()
        for end in _pipe:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)


def lost_in_import(error: BaseException) -> bool:
    """Whether the error is what an import made of an interrupt: a module was being loaded, and a signal arrived."""
    if isinstance(error, KosmosError) or not isinstance(error, Exception):
        return False
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    importing = isinstance(error, ImportError) or any(frame.f_code.co_name == "<module>" for frame in frames)
    return importing and _told_to_stop()


def _told_to_stop() -> bool:
    """Whether one of the two arrived since `listen`, or since this was asked last."""
    if _pipe is None:
        return False
    try:
        arrived = os.read(_pipe[0], 1 << 16)
    except BlockingIOError:
        return False
    return any(number in arrived for number in (signal.SIGINT, signal.SIGTERM))
