"""Multimodal chain of thought: first say what the picture says, then judge it (paper: figure 5, Table 9).

The paper's two steps on rendered opinions: what follows the picture and "Introduce this picture in detail:" is the
rationale, and stands between the picture and the question. The demo's model was never taught to introduce pictures: its
rationale is noise, and the direct answer is the better one.

python examples/gallery/10_chain_of_thought.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, choose, held_out, main

import kosmos
from kosmos import Document, Engine

QUESTION = "Question: what is the sentiment of the opinion? Answer:"
LABELS = ["positive", "negative"]


def show(engine: Engine, items: int) -> Iterator[Shown]:
    for example in held_out(engine, "sentiment", items):
        introduce = Document(*example.images, "Introduce this picture in detail:")
        rationale = " ".join(kosmos.generate(engine, introduce, max_new_tokens=24).text.split())
        direct, _ = choose(engine, Document(*example.images, QUESTION), LABELS)
        prompt = Document(*example.images, f"{rationale} {QUESTION}".strip())
        answer, shares = choose(engine, prompt, LABELS)
        note = f"asked directly: {direct}; after the rationale: {shares}; the picture says: {example.meta['text']}"
        yield Shown(prompt, answer, example.fields["answer"], note)


if __name__ == "__main__":
    main(show)
