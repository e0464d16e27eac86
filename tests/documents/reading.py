"""The fenced blocks of the documents, and the commands in them.

What a fence's language says of a block:
  sh       commands that a test runs as they stand, in the order of the document
  console  `$ command` lines with what they print: run and compared
  python   a program that a test runs; blocks of one document share their names
  yaml, json, html   loaded, and with title="FILE" written to that file before what follows is run
  bash     commands that cannot run in a test: parsed, and listed in `not_run.py` with the reason
  text     no command: an answer's shape, a listing
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LANGUAGES = ("sh", "console", "python", "yaml", "json", "html", "bash", "text")


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is that of its opening fence, `title` the file that it shows ("" for none)."""

    document: str
    line: int
    language: str
    title: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """A logical line each; comments and empty lines are left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if shlex.split(line, comments=True)]


def documents() -> list[Path]:
    """Every Markdown file that people read: README.md, CONTRIBUTING.md, CHANGELOG.md and docs/."""
    top = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*top, *sorted((REPOSITORY / "docs").rglob("*.md"))]


def name_of(document: Path) -> str:
    """The path below the repository: docs/training.md."""
    return document.relative_to(REPOSITORY).as_posix()


def blocks(document: Path) -> list[Block]:
    """The fenced blocks in order."""
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        fence = re.match(r"```(\w*)(.*)$", line)
        if opened is None and fence:
            title = re.search(r'title="([^"]+)"', fence[2])
            opened, inside = (number, fence[1], title[1] if title else ""), []
        elif opened is not None and line.strip() == "```":
            found.append(Block(name_of(document), *opened, "\n".join([*inside, ""])))
            opened = None
        else:
            inside.append(line)
    assert opened is None, f"{document}:{opened}: a fence that is not closed"
    return found


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of these languages in all documents."""
    return [block for document in documents() for block in blocks(document) if block.language in languages]


def prose(document: Path) -> str:
    """The document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def inline_commands(document: Path) -> list[str]:
    """What stands between backticks in the prose and calls `kosmos VERB`, `make TARGET` or `python -m MODULE`."""
    found = re.findall(r"`((?:kosmos|make|python -m) [^`]+)`", prose(document))
    return [" ".join(command.split()) for command in found]
