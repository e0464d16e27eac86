"""Reading words in pictures, without any reader of letters (paper: figures 2 and 3).

Words that training drew, in fonts that it did not. Words that training never drew the demo's model cannot read.

python examples/gallery/03_ocr.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, answer_all, held_out, main

from kosmos import Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    return answer_all(engine, held_out(engine, "ocr", items))


if __name__ == "__main__":
    main(show)
