"""A page as one HTML file: pictures inside, no scripts, nothing fetched, light and dark as the reader's system is."""

from __future__ import annotations

import base64
import re
from html import escape

from kosmos.evaluation.reporting.page import Band, Block, Bullets, Cell, Grid, Heading, Link, Page, Paragraph, Shown

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --quiet: #5f6c7b; --paper: #ffffff; --band: #eef2f6;
  --line: #d8dee6; --right: #1d7f4b; --wrong: #c03a3a; --warn: #fff6e0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --quiet: #9aa7b5; --paper: #14181d; --band: #1e252d;
  --line: #323c47; --right: #58c48b; --wrong: #f08383; --warn: #33290f; } }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.2rem; font-size: 1.2rem; } h3 { font-size: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
td.figure, th.figure { text-align: right; }
tr.band td { background: var(--band); font-weight: 600; }
a { color: inherit; }
code { background: var(--band); padding: 0 .2rem; }
ul.warning { background: var(--warn); padding: .7rem 1rem .7rem 2rem; border-radius: .4rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: .8rem; }
figure { margin: 0; padding: .7rem; border: 1px solid var(--line); border-radius: .4rem; overflow-wrap: anywhere; }
figure img { max-height: 8rem; max-width: 100%; margin-right: .3rem; border-radius: .2rem; }
figcaption b.right { color: var(--right); } figcaption b.wrong { color: var(--wrong); }
dl { margin: .3rem 0 0; } dt { color: var(--quiet); font-size: .8rem; } dd { margin: 0; }
.quiet { color: var(--quiet); }
"""


def to_html(page: Page) -> str:
    body = "\n".join(text for block in page.blocks if (text := _block(block)))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(page.title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{_words(block.text)}</p>"
    if isinstance(block, Bullets):
        if not block.items:
            return ""
        kind = ' class="warning"' if block.warning else ""
        return f"<ul{kind}>" + "".join(f"<li>{_words(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Grid):
        return _grid(block)
    return '<div class="gallery">\n' + "\n".join(map(_shown, block.items)) + "\n</div>"


def _words(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def _grid(grid: Grid) -> str:
    kinds = [' class="figure"' if place in grid.numeric else "" for place in range(len(grid.headings))]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for text, kind in zip(grid.headings, kinds))
    rows = []
    for row in grid.rows:
        if isinstance(row, Band):
            rows.append(f'<tr class="band"><td colspan="{len(grid.headings)}">{escape(row.text)}</td></tr>')
        else:
            rows.append("<tr>" + "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds)) + "</tr>")
    body = "\n".join(rows)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f'<a href="{escape(cell.target)}">{escape(cell.text)}</a>'
    return escape(cell)


def _shown(item: Shown) -> str:
    pictures = "".join(
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">' for data in item.pictures
    )
    word = {True: ' <b class="right">right</b>', False: ' <b class="wrong">wrong</b>', None: ""}[item.right]
    lines = "".join(f"<dt>{escape(what)}</dt><dd>{escape(text) or '(nothing)'}</dd>" for what, text in item.lines)
    missing = f'<p class="quiet">{escape(item.missing)}</p>' if item.missing else ""
    return f"<figure>{pictures}<figcaption>{escape(item.title)}{word}</figcaption>{missing}<dl>{lines}</dl></figure>"
