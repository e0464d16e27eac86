"""A page as Markdown: tables padded, so that they are tables in a plain terminal too."""

from __future__ import annotations

from collections.abc import Sequence

from kosmos.evaluation.page import Band, Block, Bullets, Cell, Grid, Heading, Link, Page, Paragraph, Shown


def to_markdown(page: Page) -> str:
    return "\n\n".join([f"# {page.title}", *(text for block in page.blocks if (text := _block(block)))]) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Paragraph):
        return block.text
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Grid):
        return _grid(block)
    return "\n".join(_shown(item) for item in block.items)


def _grid(grid: Grid) -> str:
    width = len(grid.headings)
    rows = [[f"**{row.text}**", *[""] * (width - 1)] if isinstance(row, Band) else [_cell(c) for c in row]
            for row in grid.rows]  # fmt: skip
    widths = [max(3, *(len(row[column]) for row in [list(grid.headings), *rows])) for column in range(width)]
    rules = ["-" * (size - 1) + ":" if place in grid.numeric else "-" * size for place, size in enumerate(widths)]
    return "\n".join(_line(row, widths, grid.numeric) for row in [list(grid.headings), rules, *rows])


def _line(row: Sequence[str], widths: Sequence[int], numeric: frozenset[int]) -> str:
    padded = [
        text.rjust(size) if place in numeric and not text.startswith("**") else text.ljust(size)
        for place, (text, size) in enumerate(zip(row, widths))
    ]
    return f"| {' | '.join(padded)} |"


def _cell(cell: Cell) -> str:
    text = cell.text if isinstance(cell, Link) else cell
    text = text.replace("|", "\\|")
    return f"[{text}]({cell.target})" if isinstance(cell, Link) else text


def _shown(item: Shown) -> str:
    mark = {True: " (right)", False: " (wrong)", None: ""}[item.right]
    lines = [f"- **{item.title}**{mark}", *(f"{what}: {_code(text)}" for what, text in item.lines)]
    if item.missing:
        lines.append(item.missing)
    return "  \n  ".join(lines)


def _code(text: str) -> str:
    """Inline code that any text survives in."""
    fence = "``" if "`" in text else "`"
    return f"{fence} {text} {fence}" if fence == "``" else f"{fence}{text}{fence}" if text else "(nothing)"
