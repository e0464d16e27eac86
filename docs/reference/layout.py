"""Docstrings as Markdown: lines in columns and lines of code keep their lines, as they have them in the source."""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

# `name  what it means`, and the lines that go on below the meaning.
_COLUMNS = re.compile(r"^[\w`(*-][^\n]*?\S {2,}\S")


def as_markdown(docstring: str) -> str:
    """Paragraphs in columns, and those that are Python calls, as code blocks; the others as they are."""
    paragraphs = re.split(r"\n\s*\n", docstring)
    return "\n\n".join(_code(text) if _in_columns(text) or _is_python(text) else text for text in paragraphs)


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _in_columns(text: str) -> bool:
    first, *rest = text.splitlines()
    return bool(_COLUMNS.match(first)) and all(_COLUMNS.match(line) or line.startswith("  ") for line in rest)


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
