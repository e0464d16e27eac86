"""Pieces of Markdown that all reports share: padded tables, and inline code that any text survives in."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def table(rows: Sequence[Sequence[str]], headings: Sequence[str], numeric: Collection[int]) -> str:
    """A table with its columns padded, so that it is a table in a plain terminal too; `numeric` ones to the right."""
    widths = [max(3, *(len(row[i]) for row in [headings, *rows])) for i in range(len(headings))]
    rules = ["-" * (width - 1) + ":" if i in numeric else "-" * width for i, width in enumerate(widths)]
    return "\n".join(_line(row, widths, numeric) for row in [headings, rules, *rows])


def _line(row: Sequence[str], widths: Sequence[int], numeric: Collection[int]) -> str:
    padded = [
        text.rjust(width) if index in numeric else text.ljust(width)
        for index, (text, width) in enumerate(zip(row, widths))
    ]
    return f"| {' | '.join(padded)} |"


def inline_code(text: str) -> str:
    """Text of one line as code, with a fence that is not in it."""
    if not text:
        return "(nothing)"
    return f"`` {text} ``" if "`" in text else f"`{text}`"
