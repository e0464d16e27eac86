"""What the examples of the gallery share: held-out items as prompts, and the way an answer is shown.

An example is a module with a docstring (what it shows, and what of it the small model cannot do) and a function
`show(engine, items)` that yields what was asked and what came of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

import kosmos
from kosmos import Document, Engine
from kosmos.data.picturebook.heldout import draw_set
from kosmos.data.picturebook.templates import template
from kosmos.document import Image, Text
from kosmos.errors import KosmosError, UsageError
from kosmos.example import Example, split_answer


@dataclass(frozen=True)
class Shown:
    """One thing that was asked: the prompt as the model read it, its answer, the truth ("" where there is none)."""

    prompt: Document
    answer: str
    truth: str = ""
    note: str = ""


Show = Callable[[Engine, int], Iterator[Shown]]


def picture_size(engine: Engine) -> int:
    """Side of the square pictures that the model takes, in pixels."""
    vision = engine.processor.config.vision
    if vision is None:
        raise UsageError("this model reads text only; take a run of a model with a vision tower")
    return vision.image_size


def held_out(engine: Engine, name: str, items: int) -> list[Example]:
    """The first items of one of the demo's held-out sets: always the same ones, none chosen by hand."""
    return draw_set(name, picture_size(engine), limit=items)


def asked(example: Example) -> tuple[Document, str]:
    """An example's prompt, and the right answer."""
    prompt, truth = split_answer(template(example))
    return prompt.unsupervised(), truth.strip()


def answer_all(engine: Engine, examples: list[Example], max_new_tokens: int = 24) -> Iterator[Shown]:
    """Every example's own prompt, answered by greedy search."""
    pairs = [asked(example) for example in examples]
    answers = kosmos.generate_batch(engine, [prompt for prompt, _ in pairs], max_new_tokens=max_new_tokens)
    for (prompt, truth), answer in zip(pairs, answers, strict=True):
        yield Shown(prompt, answer.text.strip(), truth)


def choose(engine: Engine, prompt: Document, names: Sequence[str]) -> tuple[str, str]:
    """The most probable of the names behind the prompt (by sums of log-probabilities), and the best four's shares."""
    scores = kosmos.score(engine, prompt, [f" {name}" for name in names])
    sums = np.array([score.sum for score in scores])
    shares = np.exp(sums - sums.max())
    shares /= shares.sum()
    order = np.argsort(-shares)
    return names[int(order[0])], ", ".join(f"{names[i]} {100 * shares[i]:.0f} %" for i in order[:4])


def save_pictures(prompt: Document, folder: Path, name: str) -> list[Path]:
    """The prompt's pictures as PNG files, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index, image in enumerate(prompt.images):
        files.append(folder / f"{name}-{index}.png")
        PIL.Image.fromarray(np.asarray(image.source)).save(files[-1])
    return files


def as_text(prompt: Document, marks: list[str]) -> str:
    """The prompt on one line, each picture as the mark that stands for it."""
    waiting = iter(marks)
    parts = []
    for segment in prompt:
        if isinstance(segment, Image):
            parts.append(f"[{next(waiting)}]")
        elif isinstance(segment, Text):
            parts.append(segment.text.strip())
    return " ".join(parts).replace("\n", " / ")


def main(show: Show) -> None:
    """The command line of an example: a run directory, how many items, and where the pictures go."""
    module = sys.modules["__main__"]
    parser = argparse.ArgumentParser(description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run directory, a step or an exported folder")
    parser.add_argument("--items", type=int, default=3, help="how many are asked (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder for the pictures (default: gallery)")
    args = parser.parse_args()
    try:
        engine = kosmos.load(args.run)
        for number, shown in enumerate(show(engine, args.items)):
            files = save_pictures(shown.prompt, args.out, f"{Path(sys.argv[0]).stem}-{number}")
            print("prompt:", as_text(shown.prompt, [str(file) for file in files]))
            print("answer:", shown.answer)
            if shown.truth:
                print("truth: ", shown.truth)
            if shown.note:
                print("note:  ", shown.note)
            print()
    except KosmosError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: error: {error}")
