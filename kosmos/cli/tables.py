"""Tables for people: drawn by rich on a terminal, aligned plain text otherwise."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table; columns of figures go to the right. Cells are texts of one line."""
    right = [all(_is_figure(row[i]) for row in rows) for i in range(len(headings))]
    if sys.stdout.isatty():
        _draw(headings, rows, title, right)
        return
    if title:
        print(title)
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    for row in [headings, *rows]:
        cells = [cell.rjust(width) if aside else cell.ljust(width) for cell, width, aside in zip(row, widths, right)]
        print("  ".join(cells).rstrip())


def _draw(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str, right: Sequence[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, header_style="bold")
    for heading, aside in zip(headings, right):
        table.add_column(heading, justify="right" if aside else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _is_figure(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell[0] in "-–"


def counted(number: int, thing: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def readable_bytes(size: float) -> str:
    """`1.4 MB`: powers of 1000, as disks count."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def printable(text: str) -> str:
    """The text with control characters spelled out: what a file says must not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
