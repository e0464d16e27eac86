"""Responses on disk: one file a rank, one line an item, synced at the end of each group.

A group counts only with its closing line; what a killed process left of one is written again. So any number of ranks
may go on from what any other number left.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from kosmos.errors import DataError, StorageError
from kosmos.storage import make_folder

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

# More than there are ranks.
_RANKS = 1000


class ResponseLog:
    """Appends the responses of one rank to `folder/rank-N.jsonl`.

    While another process has that file (a rank that outlived its killed launcher), N is the next of N + 1000, ...
    """

    def __init__(self, folder: Path, rank: int) -> None:
        make_folder(folder)
        for number in itertools.count(rank, _RANKS):
            self.path = folder / f"rank-{number}.jsonl"
            try:
                self._file = self.path.open("ab", buffering=0)
                if _is_taken(self._file):
                    self._file.close()
                    continue
                _drop_torn_line(self.path)
                return
            except OSError as error:
                raise StorageError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def append(self, group: str, responses: Sequence[Mapping[str, Any]], notes: Mapping[str, Any]) -> None:
        """Write a whole group and its closing line; it is on disk when this returns, or nothing of it."""
        lines = [json.dumps({"group": group, **response}, ensure_ascii=False) for response in responses]
        lines.append(json.dumps({"group": group, "end": len(responses), "time": time.time(), **notes}))
        waiting = memoryview(("\n".join(lines) + "\n").encode())
        size = os.fstat(self._file.fileno()).st_size
        try:
            while waiting:
                waiting = waiting[self._file.write(waiting) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):  # the next start drops what is torn
                self._file.truncate(size)
            raise StorageError(
                f"{self.path}: cannot be written: {error.strerror or error}; finished groups are kept: free some space "
                "and run the same command again"
            ) from error

    def close(self) -> None:
        self._file.close()


def _is_taken(file: IO[bytes]) -> bool:
    """Lock the file for this process, or see that another has it. Where there are no locks there is no guard."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without such locks
        return False
    return False


def read_responses(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Finished groups and their responses; what was written last when a group was asked again."""
    found: dict[str, list[dict[str, Any]]] = {}
    times: dict[str, float] = {}
    paths = sorted(folder.glob("rank-*.jsonl"), key=lambda path: int(path.stem.removeprefix("rank-")))
    for path in paths:
        open_groups: dict[str, list[dict[str, Any]]] = {}
        for line in _whole_lines(path):
            group = line.pop("group")
            if "end" not in line:
                open_groups.setdefault(group, []).append(line)
                continue
            # What a killed process left of the group stands before the lines of its second time.
            responses = open_groups.pop(group, [])[-line["end"] :] if line["end"] else []
            if len(responses) == line["end"] and line.get("time", 0.0) >= times.get(group, 0.0):
                found[group], times[group] = responses, line.get("time", 0.0)
    return found


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # torn by a kill
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not a line of responses ({error}); remove the file") from error


def _drop_torn_line(path: Path) -> None:
    """Cut off what follows the last line end, so that the next line begins on its own."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        while size:
            start = max(0, size - 65536)
            file.seek(start)
            place = file.read(size - start).rfind(b"\n")
            if place >= 0:
                file.truncate(start + place + 1)
                return
            size = start
        file.truncate(0)
