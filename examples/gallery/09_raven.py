"""Raven's matrices: which of six pictures comes next, by P(Yes) for each (paper: figure 4, Table 6).

The demo's model has not learned this: about one in six is right, as by chance.

python examples/gallery/09_raven.py runs/demo
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from showing import Shown, held_out, main

from kosmos import Document, Engine
from kosmos.data.picturebook.templates import raven_contexts


def show(engine: Engine, items: int) -> Iterator[Shown]:
    for example in held_out(engine, "raven_3", items):
        contexts = raven_contexts(example)
        scores = engine.score(contexts, [[" Yes", " No"]] * len(contexts))
        yes = np.array([1 / (1 + np.exp(no.sum - yes.sum)) for yes, no in scores])
        prompt = Document(
            "Here are three images:",
            *example.images[:3],
            "The following image is: one of",
            *example.images[3:],
            "Is it correct?",
        )
        shares = ", ".join(f"{share:.3f}" for share in yes)
        truth = f"candidate {example.fields['gold'] + 1}"
        yield Shown(prompt, f"candidate {yes.argmax() + 1}", truth, f"P(Yes): {shares}")


if __name__ == "__main__":
    main(show)
