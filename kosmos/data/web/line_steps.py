"""Steps that read and write JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kosmos.data.web.page_sources import share
from kosmos.data.web.step import KEPT, READ, CountingStep

LINES = "lines"
DAMAGED_FILES = "files cut short or damaged"


class ReadLines(CountingStep):
    """Lines of JSON with a text. What cannot be read is dropped and counted; `again`: it was counted before."""

    def __init__(self, files: Sequence[str], field: str, again: bool = False) -> None:
        super().__init__("read again" if again else "read")
        self.files = files
        self.field = field
        self.again = again

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the good lines of this task's files as Documents."""
        from datatrove.data import Document

        for path in share(self.files, rank, world_size):
            for offset, line in self._lines(path):
                if line is not None and not line.strip():
                    continue
                with self.busy():
                    text = _text(line, self.field)
                if not self.again:
                    self.count(READ)
                if isinstance(text, BadLine):
                    if not self.again:
                        self.remove(text.why)
                    continue
                yield Document(text=text, id=f"{path} byte {offset}", metadata={"line": line})

    def _lines(self, path: str) -> Iterator[tuple[int, bytes | None]]:
        from kosmos.data.readers.compressed import DamagedFile, read_lines

        try:
            yield from read_lines(path)
        except DamagedFile:
            if not self.again:
                self.count(DAMAGED_FILES)


class BadLine:
    """A line that holds no text; `why` is what it is counted under."""

    def __init__(self, why: str) -> None:
        self.why = why


def _text(line: bytes | None, field: str) -> str | BadLine:
    if line is None:
        return BadLine("line too long")
    try:
        fields = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return BadLine("not utf-8")
    except (ValueError, RecursionError):
        return BadLine("bad json")
    text = fields.get(field) if isinstance(fields, dict) else None
    if not isinstance(text, str):
        return BadLine("no text field")
    return text if text.strip() else BadLine("empty text")


class WriteLines(CountingStep):
    """Writes the lines of a task into a file of its own, which is whole or absent. `names`: one a task."""

    def __init__(self, folder: str, names: Sequence[str]) -> None:
        super().__init__("write")
        self.folder = folder
        self.names = names

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Write every line, and yield none."""
        final = Path(self.folder, self.names[rank])
        part = final.with_name(f".{final.name}.part")
        with open(part, "wb") as file:
            for document in data:
                with self.busy():
                    file.write(document.metadata["line"].rstrip(b"\r\n") + b"\n")
                self.count(KEPT)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, final)
        yield from ()


def output_names(files: Sequence[str]) -> list[str]:
    """A name for each file, that of the input without compression; files of one name get their number before it."""
    from kosmos.data.readers.compressed import plain_name

    names = [plain_name(file.rstrip("/").rpartition("/")[2]) for file in files]
    names = [name if name.endswith(".jsonl") else f"{name}.jsonl" for name in names]
    return [name if names.count(name) == 1 else f"{place:05d}-{name}" for place, name in enumerate(names)]
