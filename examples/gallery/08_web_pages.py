"""Questions about a web page, from its picture alone (paper: figures 2 and 3, Table 8).

Small pages of keys and values. The demo's model reads fewer than half of the values.

python examples/gallery/08_web_pages.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, answer_all, held_out, main

from kosmos import Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    return answer_all(engine, held_out(engine, "webpage_qa", items))


if __name__ == "__main__":
    main(show)
