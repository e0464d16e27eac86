"""A scripted engine behind the Engine's interface, and small tasks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kosmos.document import Document, Image, Text
from kosmos.evaluation.task import Task
from kosmos.example import Example


@dataclass(frozen=True)
class ScriptedGeneration:
    text: str
    finish_reason: str = "end"


@dataclass(frozen=True)
class ScriptedScore:
    sum: float
    num_tokens: int


@dataclass
class ScriptedEngine:
    """Answers by `reply(document)` and scores by `log_prob(document, candidate)`; remembers what it was asked."""

    reply: Callable[[Document], str] = lambda document: ""
    log_prob: Callable[[Document, str], float] = lambda document, candidate: 0.0
    asked: list[Document] = field(default_factory=list)

    def generate(self, documents: list[Document], max_new_tokens: int) -> Sequence[ScriptedGeneration]:
        self.asked += documents
        return [ScriptedGeneration(self.reply(document)) for document in documents]

    def score(self, documents: list[Document], candidates: list[list[str]]) -> Sequence[Sequence[ScriptedScore]]:
        self.asked += documents
        return [
            [ScriptedScore(self.log_prob(document, text), len(text.split())) for text in texts]
            for document, texts in zip(documents, candidates, strict=True)
        ]


def flat(level: int, size: int = 4) -> Image:
    """A picture of one grey level."""
    return Image(np.full((size, size, 3), level, dtype=np.uint8))


def level_of(document: Document) -> int:
    """The grey level of the last picture."""
    return int(document.images[-1].source[0, 0, 0])


LEVELS = {10: "black", 60: "dark", 200: "light", 250: "white"}


def shade_examples(count: int, offset: int = 0) -> list[Example]:
    """Pictures of four grey levels in turn; `offset` shifts the levels a little."""
    made = []
    for index in range(count):
        level, name = list(LEVELS.items())[index % 4]
        fields = {"answer": name, "candidates": [f" {n}" for n in LEVELS.values()]}
        made.append(Example(f"shade-{index}", fields, (flat(level + offset),)))
    return made


def shade_template(example: Example) -> Document:
    return Document(*example.images, Text("The shade is", supervised=False), f" {example.fields['answer']}")


def shade_task(**changes: Any) -> Task:
    settings: dict[str, Any] = {
        "name": "shade",
        "examples": lambda: shade_examples(8),
        "template": shade_template,
        "chance": 0.25,
        "train_examples": lambda n: shade_examples(40, offset=1)[:n],
        "baselines": ("majority", "question_majority", "pixel_nearest_neighbour"),
    }
    return Task(**{**settings, **changes})


def puzzle_examples(count: int) -> list[Example]:
    """Three candidates each, the right one of the context's grey level."""
    made = []
    for index in range(count):
        levels = [40, 120, 220]
        gold = index % 3
        context = flat(levels[gold] + 1)
        made.append(Example(f"puzzle-{index}", {"gold": gold}, (context, *(flat(level) for level in levels))))
    return made


def puzzle_contexts(example: Example) -> list[Document]:
    given, *candidates = example.images
    ask = Text(" Is it correct?", supervised=False)
    return [Document(given, candidate, ask) for candidate in candidates]


def puzzle_task(**changes: Any) -> Task:
    settings: dict[str, Any] = {
        "name": "puzzle",
        "examples": lambda: puzzle_examples(6),
        "template": lambda example: puzzle_contexts(example)[example.fields["gold"]] + " Yes",
        "mode": "yes",
        "contexts": puzzle_contexts,
        "chance": 1 / 3,
    }
    return Task(**{**settings, **changes})
