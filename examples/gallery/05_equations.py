"""Simple equations, drawn as a picture (paper: figures 2 and 3).

Half of the pairs of numbers are new. The demo's model is right on 85 % of those
that it has seen drawn, and on none of the new ones: it has learned pairs, not sums.

python examples/gallery/05_equations.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, answer_all, held_out, main

from kosmos import Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    return answer_all(engine, held_out(engine, "equation", items))


if __name__ == "__main__":
    main(show)
