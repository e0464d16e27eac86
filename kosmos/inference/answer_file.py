"""A file of answers that may be left at any moment and gone on with: whole lines appended batch by batch.

Beside ANSWERS.jsonl stands ANSWERS.jsonl.meta.json, which says what the answers were asked with: going on with another
file of requests, other weights or other options is refused. While the file grows its lines come as they were answered;
`arrange` gives the finished file the order of the requests.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from kosmos.errors import DataError, StorageError, UsageError
from kosmos.inference.requests import key_of
from kosmos.storage import make_folder, remove_unwritten, write_atomic

try:
    import fcntl
except ImportError:  # not a POSIX system: two writers must be kept apart by hand
    fcntl = None  # type: ignore[assignment]


class AnswerFile:
    """Appends answers, objects with an "id" and perhaps an "error"; used as a context manager.

    `about` says what is asked: {"requests": sha256, "weights": sha256, "options": {...}, ...}. `keys` are those that
    answers may have. With `resume` a file that is there is gone on with, and a half-written last line is dropped.
    `answered` holds the keys of what is there, with whether it is an answer (or an error). Raises UsageError when the
    file is there without `resume`, was begun with something else or is being written by another process.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], keys: Collection[str], *, resume: bool = False) -> None:
        self.path = path
        self.answered: dict[str, bool] = {}
        self._meta = path.with_name(f"{path.name}.meta.json")
        about = json.loads(json.dumps(about))  # as it will be read back
        going_on = path.exists()
        if going_on and not resume:
            raise UsageError(f"{path} is there already; resume it, choose another file, or remove it first")
        if going_on:
            self._compare(about)
            remove_unwritten(path)
        else:
            make_folder(path.parent)
            write_atomic(self._meta, (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
        try:
            # Unbuffered: what a full disk refused must not come back, as another error, when the file is closed.
            self._file = open(path, "r+b" if going_on else "x+b", buffering=0)  # noqa: SIM115  closed by __exit__
            try:
                self._lock()
                self._size = self._read(keys)
                self._file.truncate(self._size)
                self._file.seek(self._size)
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise StorageError(f"{path}: cannot write: {error.strerror or error}") from error

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Append answers and have them on the disk. Raises StorageError; the file then ends where it ended before."""
        data = b"".join(answer_line(answer) for answer in answers)
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):  # resuming drops a half line too
                self._file.truncate(self._size)
            raise StorageError(f"{self.path}: cannot write: {error.strerror or error}; free some space") from error
        self._size += len(data)
        self.answered.update((key_of(answer["id"]), "error" not in answer) for answer in answers)

    def arrange(self, keys: Sequence[str]) -> None:
        """Put the lines into the order of `keys`; of two with one key the later counts. No more may be written."""
        places: dict[str, tuple[int, int]] = {}
        order: list[str] = []
        for start, line in self._lines():
            key = key_of(json.loads(line)["id"])
            places[key] = (start, len(line))
            order.append(key)
        wanted = [key for key in keys if key in places]
        if order != wanted:
            write_atomic(self.path, self._pieces([places[key] for key in wanted]))

    def _pieces(self, places: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        with open(self.path, "rb") as file:
            for start, length in places:
                file.seek(start)
                yield file.read(length)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """(first byte, line) of the file, the line's newline included where it has one."""
        start = 0
        with open(self.path, "rb") as file:
            for line in file:
                yield start, line
                start += len(line)

    def _read(self, keys: Collection[str]) -> int:
        """Fill `answered`; where the last whole line ends."""
        end = 0
        for number, (start, line) in enumerate(self._lines(), start=1):
            if not line.endswith(b"\n"):
                break
            try:
                answer = json.loads(line)
                key, good = key_of(answer["id"]), "error" not in answer
            except (ValueError, KeyError, TypeError) as error:
                raise StorageError(f"{self.path}:{number}: damaged; remove this line to have it asked again") from error
            if key not in keys:
                raise DataError(f"{self.path}:{number}: the id {key} is none of the requests'; choose another file")
            self.answered[key] = good
            end = start + len(line)
        return end

    def _compare(self, about: Mapping[str, Any]) -> None:
        if not self._meta.is_file():
            raise UsageError(
                f"{self.path}: cannot be resumed: {self._meta.name}, which says what it was begun with, is not beside "
                "it; choose another file"
            )
        try:
            held = json.loads(self._meta.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StorageError(f"{self._meta}: cannot be read: {error}; choose another file for the answers") from error
        differences = list(_differences(held if isinstance(held, dict) else {}, about))
        if differences:
            raise UsageError(
                f"{self.path}: cannot be resumed: {'; '.join(differences)}. Give what it was begun with "
                f"({self._meta.name} has it), or choose another file"
            )

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{self.path}: another process is writing it; let it end first") from error
        except OSError:
            return  # a file system without such locks (some network ones): then there is no guard


def answer_line(answer: Mapping[str, Any]) -> bytes:
    """An answer as one line of JSON, newline included."""
    try:
        return json.dumps(answer, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot
        return json.dumps(answer).encode() + b"\n"


def _differences(held: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    """What has changed, in words; of another command that alone, as all its options are others."""
    names = sorted({*held, *about})
    if held.get("command") != about.get("command"):
        names = ["command"]
    for name in names:
        was, now = held.get(name), about.get(name)
        if was == now:
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _differences(was, now)
        elif len(f"{was}{now}") > 80:  # a hash, or a long list
            yield f"the {name} are others now"
        else:
            yield f"{name} was {json.dumps(was, ensure_ascii=False)} and is {json.dumps(now, ensure_ascii=False)}"
