"""Caption a picture, ask about it, and continue a prompt with several pictures.

python examples/generate.py runs/demo cat.png dog.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import kosmos


def main(run: str, first: str, second: str) -> None:
    engine = kosmos.load(run)
    print("caption:", kosmos.caption(engine, first))
    print("answer: ", kosmos.answer(engine, first, "what color is the background?"))

    # Text and pictures in any order make one prompt; a string is text, a Path is a picture. The demo's model knows the
    # prompts that it was trained with: docs/training.md lists them.
    prompt: list[str | Path] = [Path(first), "An image of a cat.", Path(second), "An image of"]
    for seed in range(3):
        drawn = kosmos.generate(engine, prompt, max_new_tokens=12, temperature=0.8, top_p=0.9, seed=seed)
        print(f"seed {seed}:  {drawn.text}  ({drawn.finish_reason})")

    for piece in kosmos.stream(engine, prompt, max_new_tokens=24):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
