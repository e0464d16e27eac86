"""A hook of mkdocs: fills the pages whose content is in the code, so that they cannot fall behind it."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import tokenize
from io import StringIO
from pathlib import Path
from typing import Any

MARK = re.compile(r"<!-- generated: (\w+) -->")


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Called by mkdocs for every page: its Markdown, with the marks replaced."""
    return MARK.sub(lambda mark: PAGES[mark[1]](), markdown)


def configuration() -> str:
    """A table of keys for every configuration class: type, default, and the comments that stand in the code."""
    from kosmos import config

    source = Path(config.__file__).read_text(encoding="utf-8")
    said = _comments(source)
    lines: list[str] = []
    for node in ast.parse(source).body:
        kind = getattr(config, getattr(node, "name", ""), None)
        if not isinstance(node, ast.ClassDef) or not dataclasses.is_dataclass(kind):
            continue
        lines += ["", f"## {node.name}", "", ast.get_docstring(node) or "", ""]
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                type_ = ast.unparse(field.annotation).replace("|", "\\|")
                default = _default(field.value)
                lines.append(f"| `{field.target.id}` | `{type_}` | {default} | {_meaning(field, said)} |")
    return "\n".join(lines)


def _comments(source: str) -> dict[int, tuple[str, bool]]:
    """Line -> (comment, whether it stands alone on its line)."""
    tokens = tokenize.generate_tokens(StringIO(source).readline)
    return {
        token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _meaning(field: ast.AnnAssign, said: dict[int, tuple[str, bool]]) -> str:
    above: list[str] = []
    line = field.lineno - 1
    while line in said and said[line][1]:
        above.insert(0, said[line][0])
        line -= 1
    behind = [said[field.end_lineno][0]] if field.end_lineno in said else []
    return " ".join([*above, *behind]).replace("|", "\\|")


def _default(value: ast.expr | None) -> str:
    if value is None:
        return "required"
    text = ast.unparse(value)
    if text.startswith("field(default_factory="):
        made = text.removeprefix("field(default_factory=").removesuffix(")").removeprefix("lambda: ")
        text = {"dict": "{}", "tuple": "()"}.get(made, made)
    return f"`{text}`"


def commands() -> str:
    """The help of every verb."""
    os.environ["COLUMNS"] = "118"
    os.environ["NO_COLOR"] = "1"
    from kosmos.cli.main import VERBS, verb_parser

    return "\n".join(
        f"\n## kosmos {verb}\n\n```text\n{verb_parser(verb).format_help().rstrip()}\n```" for verb in VERBS
    )


PAGES = {"configuration": configuration, "commands": commands}
