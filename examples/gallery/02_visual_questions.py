"""Visual questions: what color, what is where, is there one (paper: figures 2 and 3, Tables 4 and 5).

The demo's model answers about half of them; its own question words only.

python examples/gallery/02_visual_questions.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, answer_all, held_out, main

from kosmos import Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    return answer_all(engine, held_out(engine, "vqa", items))


if __name__ == "__main__":
    main(show)
