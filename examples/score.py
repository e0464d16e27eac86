"""Choose among names for a picture by their log-probabilities; the picture is read once for all of them.

python examples/score.py runs/demo cat.png cat dog "hot dog"
"""

from __future__ import annotations

import sys

from kosmos import Document, Image, load


def main(run: str, picture: str, names: list[str]) -> None:
    engine = load(run)
    with engine.prefill(Document(Image(picture), "An image of")) as prefix:
        # The space belongs to the candidate: it is how the name follows the prompt. With the closing </s> counted,
        # "hot" does not win over "hot dog" by being shorter.
        scores = prefix.score([f" {name}" for name in names], include_end=True)
        print("greedy:", prefix.greedy(8).text)
    for name, score in sorted(zip(names, scores), key=lambda pair: -pair[1].sum):
        print(f"{score.sum:8.3f}  {score.mean:7.3f} a token  {name}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
