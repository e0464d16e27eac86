"""Number recognition: handwritten digits (paper: figures 2 and 3).

Real digits of scikit-learn's set, the last 500 of which training never sees.

python examples/gallery/04_numbers.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, answer_all, held_out, main

from kosmos import Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    return answer_all(engine, held_out(engine, "number", items))


if __name__ == "__main__":
    main(show)
