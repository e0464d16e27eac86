"""What a line typed in a chat means: a command, or text and pictures in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kosmos.errors import UsageError, nearest

# Command -> what /help says of it. Pictures are no command: /image FILE may stand anywhere in a line.
COMMANDS = {
    "reset": "forget the conversation",
    "undo": "take back the last question and its answer (or pictures that are not asked about yet)",
    "retry": "answer the last question again, with other random numbers if it is drawn",
    "set": "NAME VALUE: change how answers are made, as in /set temperature 0.8; alone: show all",
    "save": "FILE: write the conversation as JSON",
    "help": "this list",
    "quit": "leave; so does the end of the input (Ctrl-D)",
}

# A file's name with spaces stands in quotes.
_PICTURE = re.compile(r"""(?<!\S)/image(?!\S)(?:\s+(?:"([^"]+)"|'([^']+)'|([^\s"']\S*)))?""")


@dataclass(frozen=True)
class Command:
    """/name argument"""

    name: str
    argument: str


def parse_line(line: str) -> Command | list[str | Path]:
    """A command, or the parts of a turn: strings are text, paths are pictures; none for an empty line.

    A line that starts with // is a text that starts with /. Raises UsageError for an unknown command, and for /image
    without a file.
    """
    text = line.strip()
    first = 0
    if text.startswith("//"):
        text, first = text[1:], 1  # a picture cannot start where the slash is meant
    elif text.startswith("/") and not _PICTURE.match(text):
        name, *rest = text[1:].split(maxsplit=1) or [""]
        if name not in COMMANDS:
            hint = nearest(name, [*COMMANDS, "image"])
            raise UsageError(f"no command /{name}{hint}; /help lists them, and // begins a text with a slash")
        return Command(name, rest[0] if rest else "")
    return _parts(text, first)


def _parts(text: str, first: int) -> list[str | Path]:
    parts: list[str | Path] = []
    done = 0
    for match in _PICTURE.finditer(text, first):
        name = next((group for group in match.groups() if group), None)
        if name is None:
            raise UsageError("/image wants the name of a file (in quotes where there are spaces in it)")
        parts += [text[done : match.start()].strip(), Path(name).expanduser()]
        done = match.end()
    return [part for part in [*parts, text[done:].strip()] if part]
