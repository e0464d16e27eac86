"""Runs every example of the gallery on a run and writes docs/gallery.md with what came of it, and its pictures.

python examples/gallery/make_page.py runs/demo docs
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import PIL.Image
from showing import Shown, as_text

import kosmos
from kosmos import Document, Engine

ITEMS = 3
GAP = 4
# Pictures that this project draws itself. The others hold drawings and digits of other people and are not kept here.
OURS = ("03_ocr", "05_equations", "08_web_pages", "09_raven", "10_chain_of_thought")
INTRODUCTION = """\
# Gallery

One runnable example for each ability that the paper's figures show, on a model of three million parameters that
`kosmos demo` trains in ten minutes. Pictures are the first ones of the held-out sets, which training never sees, and
answers stand as they came, right or wrong; the report of a run says how often which is the case. Where no picture is
shown it holds drawings or digits of other people; running the example saves it. This page is made by

```bash
python examples/gallery/make_page.py runs/demo docs
```

and an example alone runs as

```bash
python examples/gallery/03_ocr.py runs/demo
```
"""


def main(run: str, docs: Path) -> None:
    engine = kosmos.load(run)
    pictures = docs / "images" / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    sections = [INTRODUCTION]
    for program in sorted(Path(__file__).parent.glob("[0-9]*.py")):
        sections.append(section(engine, program, pictures))
    (docs / "gallery.md").write_text("\n".join(sections), encoding="utf-8")


def section(engine: Engine, program: Path, pictures: Path) -> str:
    """One example as Markdown; its pictures are saved."""
    module = runpy.run_path(str(program))
    title, _, rest = module["__doc__"].partition("\n\n")
    said = rest.rpartition("\n\n")[0].strip()
    ability, _, where = title.partition(" (paper: ")
    lines = [f"## {re.split('[:,]', ability)[0]}", "", f"{ability.rstrip('.')} (paper: {where}", "", said, ""]
    rows, notes = [], []
    for number, shown in enumerate(module["show"](engine, ITEMS)):
        image = ""
        if shown.prompt.images and program.stem in OURS:
            file = pictures / f"{program.stem}-{number}.png"
            strip(shown.prompt).save(file, optimize=True)
            image = f"![the pictures of the prompt](images/gallery/{file.name})"
        rows.append([image, cell(words(shown)), cell(shown.answer), cell(shown.truth)])
        if shown.note:
            notes.append(f"{number + 1}. {cell(shown.note)}")
    columns = ["picture", "prompt", "answer", "truth"]
    if not any(row[0] for row in rows):
        columns, rows = columns[1:], [row[1:] for row in rows]
    lines += [f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows]]
    return "\n".join([*lines, *(["", *notes] if notes else []), "", f"`examples/gallery/{program.name}`", ""])


def words(shown: Shown) -> str:
    """The prompt with its pictures as numbers."""
    return as_text(shown.prompt, [str(index + 1) for index in range(len(shown.prompt.images))])


def cell(text: str) -> str:
    """Text as it may stand in a table: what a model says may look like Markdown or HTML."""
    for mark, safe in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "&#124;"),
        ("*", "&#42;"),
        ("_", "&#95;"),
        ("[", "&#91;"),
    ):
        text = text.replace(mark, safe)
    return text


def strip(prompt: Document) -> PIL.Image.Image:
    """The prompt's pictures side by side, at twice their size when they are few."""
    arrays = [np.asarray(image.source) for image in prompt.images]
    height = max(array.shape[0] for array in arrays)
    width = sum(array.shape[1] + GAP for array in arrays) - GAP
    sheet = PIL.Image.new("RGB", (width, height), (255, 255, 255))
    left = 0
    for array in arrays:
        sheet.paste(PIL.Image.fromarray(array), (left, 0))
        left += array.shape[1] + GAP
    return sheet.resize((2 * width, 2 * height), PIL.Image.Resampling.NEAREST) if len(arrays) == 1 else sheet


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
