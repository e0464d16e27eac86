"""From an exception to one line on stderr and an exit code.

0 done, 1 internal error, 2 usage or configuration, 3 data, 4 interrupted after saving, 5 disk full or damaged file.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator

from kosmos.errors import ConfigError, KosmosError

INTERNAL, INTERRUPTED, STORAGE = 1, 4, 5


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _operating_system_error(error: BaseException) -> str | None:
    """What the operating system said, when that is what went wrong; safetensors (Rust) says it in its message only."""
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno is not None:
            where = f"{link.filename}: " if link.filename else ""
            return f"{where}{link.strerror}"
        if match := re.search(r"([A-Z][\w ,'-]+) \(os error \d+\)", str(link)):
            return match.group(1)
    return None


def _is_torch_out_of_memory(error: BaseException) -> bool:
    """As `kosmos.inference.memory`, without torch: that of a GPU by its class, that of the CPU by its words."""
    return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)


def classify(error: BaseException) -> tuple[int, str]:
    """The exit code and the one line for an exception."""
    if isinstance(error, KosmosError):
        return error.exit_code, str(error)
    # An import that is interrupted may say so as an ImportError.
    importing = isinstance(error, ImportError) and any(isinstance(link, KeyboardInterrupt) for link in _chain(error))
    if importing or isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if (reason := _operating_system_error(error)) is not None:
        return STORAGE, f"reading or writing failed: {reason}"
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return INTERNAL, "out of memory; try smaller batches or a smaller model"
    kind = type(error).__name__
    return INTERNAL, f"internal error: {kind}: {error} (--debug shows where; please report it)"


def report(error: BaseException, debug: bool) -> int:
    """Print the line (several for a configuration), with the traceback above when asked, and return the exit code.

    Under torchrun every rank but the first says who it is. That all stopped as they were told to, the first says alone.
    """
    code, message = classify(error)
    rank = os.environ.get("RANK", "0")
    if rank != "0" and code == INTERRUPTED:
        return code
    who = "" if rank == "0" else f"rank {rank}: "
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    lines = [" ".join(part.split()) for part in message.splitlines() if part.strip()]
    if not isinstance(error, ConfigError):  # which says one thing a line, about one key each
        lines = ["; ".join(lines)]
    with contextlib.suppress(BrokenPipeError):  # `kosmos ... 2>&1 | head`
        for line in lines:
            print(f"kosmos: error: {who}{line}", file=sys.stderr, flush=True)
    return code
