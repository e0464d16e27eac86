"""Visual explanation: which is the odd one out, and why (paper: figures 2 and 3).

Thing and reason must both be right, which the demo's model manages about once in seven. It cannot explain jokes.

python examples/gallery/06_explanation.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, answer_all, held_out, main

from kosmos import Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    return answer_all(engine, held_out(engine, "explanation", items))


if __name__ == "__main__":
    main(show)
