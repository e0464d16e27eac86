"""Few-shot learning in context: what a made-up word means is told by the demonstrations alone (paper: section 2.1).

Four pictures with their words, then a fifth. The demo's model has learned that one of the two words comes, not which:
half are right, as by chance.

python examples/gallery/13_few_shot.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, answer_all, held_out, main

from kosmos import Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    return answer_all(engine, held_out(engine, "in_context_4", items), max_new_tokens=8)


if __name__ == "__main__":
    main(show)
