"""Docstrings as Markdown: columns of names and meanings become lists, lines of code keep their lines."""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

# `name  what it means`, and the lines that go on below the meaning.
_COLUMNS = re.compile(r"^([\w`(*-].*?\S|\w) {2,}(\S.*)$")


def as_markdown(docstring: str) -> str:
    """Paragraphs in columns as lists, those that are Python calls as code, the others as they are."""
    return "\n\n".join(_paragraph(text) for text in re.split(r"\n\s*\n", docstring))


def _paragraph(text: str) -> str:
    lines = text.splitlines()
    if _COLUMNS.match(lines[0]) and all(_COLUMNS.match(line) or line.startswith("  ") for line in lines):
        return "\n".join(_COLUMNS.sub(_item, line) for line in lines)
    if _is_python(text):
        return "\n".join(f"    {line}" for line in lines)
    return text


def _item(columns: re.Match[str]) -> str:
    name = columns[1].replace("`", "")
    return f"- `{name}`: {columns[2]}"


def _is_python(text: str) -> bool:
    if "(" not in text:
        return False
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


class Layout(griffe.Extension):
    """Called by mkdocstrings for everything that it reads."""

    def on_object(self, *, obj: griffe.Object, **context: Any) -> None:
        if obj.docstring is not None and not obj.is_alias:
            obj.docstring.value = as_markdown(obj.docstring.value)
