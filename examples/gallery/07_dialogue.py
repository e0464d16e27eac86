"""Visual dialogue: a second question that cannot be understood without the first (paper: figures 2 and 3).

Unlike in the demo's report, the model goes on from its own first answer, right or wrong. About one second answer in
three is right, which guessing from the nearest drawing beats.

python examples/gallery/07_dialogue.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, held_out, main

import kosmos
from kosmos import Document, Engine


def show(engine: Engine, items: int) -> Iterator[Shown]:
    for example in held_out(engine, "dialogue", items):
        (first, first_truth), (second, second_truth) = example.fields["turns"]
        with kosmos.chat(engine, max_new_tokens=16) as chat:
            one = chat.say(*example.images, first).strip()
            two = chat.say(second).strip()
        prompt = Document(*example.images, f"Question: {first} Answer: {one} Question: {second} Answer:")
        yield Shown(prompt, two, second_truth, note=f"the first answer should be: {first_truth}")


if __name__ == "__main__":
    main(show)
