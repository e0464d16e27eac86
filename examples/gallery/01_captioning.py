"""Captioning: what a scene shows (paper: figures 2 and 3, Tables 2 and 3).

Two or three drawn things with their counts and places. The demo's model is right in every detail about once in five.

python examples/gallery/01_captioning.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, answer_all, held_out, main

from kosmos import Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    return answer_all(engine, held_out(engine, "captioning", items))


if __name__ == "__main__":
    main(show)
