"""The generated worlds: each `sample(book, rng, split, size) -> Example`, with exact labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.worlds import (
    binding,
    captions,
    colors,
    counting,
    dialogue,
    digits,
    equations,
    explanation,
    glosses,
    ocr,
    pages,
    pictures,
    raven,
    scenes,
    sentiment,
    strings,
    webpages,
)
from kosmos.errors import ConfigError, nearest
from kosmos.example import Example

Split = Literal["train", "test", "plain"]
Sampler = Callable[[Any, np.random.Generator, str, int], Example]


@dataclass(frozen=True)
class World:
    """One world. `needs_book`: whether it draws the packages' pictures; `source`: the kind of corpus it belongs to."""

    name: str
    sampler: Sampler
    source: Literal["text", "pairs", "interleaved"]
    needs_book: bool = True

    def sample(self, book: PictureBook | None, rng: np.random.Generator, split: str, size: int) -> Example:
        return self.sampler(book, rng, split, size)


WORLDS: dict[str, World] = {
    world.name: world
    for world in (
        World("pictures", pictures.sample, "pairs"),
        World("captions", captions.sample, "pairs"),
        World("counting", counting.sample, "interleaved"),
        World("colors", colors.sample, "interleaved"),
        World("scenes", scenes.sample, "interleaved"),
        World("vqa", scenes.sample_vqa, "interleaved"),
        World("explanation", explanation.sample, "interleaved"),
        World("dialogue", dialogue.sample, "interleaved"),
        World("webpages", webpages.sample, "interleaved", needs_book=False),
        World("equations", equations.sample, "interleaved", needs_book=False),
        World("digits", digits.sample, "interleaved", needs_book=False),
        World("ocr", ocr.sample, "interleaved", needs_book=False),
        World("strings", strings.sample, "interleaved", needs_book=False),
        World("sentiment", sentiment.sample, "interleaved", needs_book=False),
        World("raven", raven.sample, "interleaved", needs_book=False),
        World("binding", binding.sample, "interleaved"),
        World("pages", pages.sample, "interleaved"),
        World("glosses", glosses.sample, "text", needs_book=False),
    )
}


def get_world(name: str) -> World:
    """The world called `name`. Raises ConfigError when there is none."""
    if name not in WORLDS:
        raise ConfigError(f"no picture-book world '{name}'{nearest(name, WORLDS)}; there are: {', '.join(WORLDS)}")
    return WORLDS[name]
