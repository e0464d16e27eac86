"""A page as Markdown: tables padded, so that they are tables in a plain terminal too."""

from __future__ import annotations

from kosmos.evaluation.reporting.markdown import inline_code, table
from kosmos.evaluation.reporting.page import Band, Block, Bullets, Cell, Grid, Heading, Link, Page, Paragraph, Shown


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
    return table(rows, list(grid.headings), grid.numeric)


def _cell(cell: Cell) -> str:
    text = cell.text if isinstance(cell, Link) else cell
    text = text.replace("|", "\\|")
    return f"[{text}]({cell.target})" if isinstance(cell, Link) else text


def _shown(item: Shown) -> str:
    mark = {True: " (right)", False: " (wrong)", None: ""}[item.right]
    lines = [f"- **{item.title}**{mark}", *(f"{what}: {inline_code(text)}" for what, text in item.lines)]
    if item.missing:
        lines.append(item.missing)
    return "  \n  ".join(lines)
