"""Zero-shot classification with descriptions in the prompt (paper: Table 12).

Two names that are alike, once alone and once with what each looks like. The paper's model gains by the descriptions.
The demo's model does not understand them: where its choice changes at all, it is by accident.

python examples/gallery/12_descriptions.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

from showing import Shown, choose, main, picture_size

from kosmos import Document, Engine
from kosmos.data.picturebook.heldout import SEED, shared_book
from kosmos.data.picturebook.reader import stream
from kosmos.data.picturebook.worlds import pictures

# (kind, (name, what it looks like), (name, what it looks like))
PAIRS = (
    ("fruit", ("banana", "It is long, bent and yellow."), ("lemon", "It is round and yellow.")),
    ("bird", ("penguin", "It is black and white and stands upright."), ("owl", "It is brown and has large eyes.")),
    ("animal", ("turtle", "It is green and has a shell."), ("frog", "It is green and has no shell.")),
)


def show(engine: Engine, items: int) -> Iterator[Shown]:
    book, size = shared_book(), picture_size(engine)
    for number, (kind, *pair) in enumerate(PAIRS[:items]):
        truth = pair[number % 2][0]
        rng = stream("descriptions", "test", SEED, 0, number)
        example = pictures.draw(book, book.index_of[truth], book.held_out_artist, rng, "test", size)
        names = [name for name, _ in pair]
        question = f"Question: what is the name of the {kind} in the picture? Answer:"
        told = " ".join(f"Description of {name}: {looks}" for name, looks in pair)
        without, before = choose(engine, Document(*example.images, question), names)
        prompt = Document(Document(told).text + " ", *example.images, question)
        answer, shares = choose(engine, prompt, names)
        yield Shown(prompt, answer, truth, f"without descriptions: {without} ({before}); with them: {shares}")


if __name__ == "__main__":
    main(show)
