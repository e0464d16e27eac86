"""A made-up benchmark of every mode, and an engine that costs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosmos.document import Document
from kosmos.errors import DataError
from kosmos.evaluation.benchmark import Benchmark, Prompt, Source
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric, register_set_metric
from kosmos.example import Example
from kosmos.inference.generation import Generation, Score

SOURCE = Source("https://example.org", "made up", ("*.txt",))


def mean_accuracy(given: Sequence[Answered]) -> Measured:
    values = tuple(float(one.scores.index(max(one.scores)) == one.label) for one in given)
    return Measured(sum(values) / len(values), values)


def mean_length(given: Sequence[Answered]) -> Measured:
    values = tuple(min(1.0, len(one.prediction) / 10) for one in given)
    return Measured(sum(values) / len(values), values)


register_set_metric(SetMetric("toy_accuracy", mean_accuracy))
register_set_metric(SetMetric("toy_length", mean_length))


def read(folder: Path, split: str) -> list[Example]:
    count = {"train": 20, "test": 50, "empty": 0}[split]
    if (folder / "broken").exists() and split == "test":
        count = 51
    return [
        Example(f"{split}-{n}", {"question": f"{split} question {n}" + " on" * (n % 7), "label": n % 2,
                                 "answers": [f"answer {n}"]})
        for n in range(count)
    ]  # fmt: skip


def context(example: Example) -> Document:
    if example.id == "test-50":
        raise DataError("picture 50.png: cannot be read")
    rationale = f"{example.fields['rationale']} " if "rationale" in example.fields else ""
    return Document(f"{rationale}{example.fields['question']}? Answer:")


def gold(example: Example) -> str:
    return [" no", " yes"][example.fields["label"]]


ASK = Prompt("paper", context, gold, candidates=lambda example: [" no", " yes"], separator="</s>")


def toy(mode: Any = "choice", **changes: Any) -> Benchmark:
    prompt = ASK
    if mode in ("partial", "yes"):
        prompt = Prompt("paper", context, lambda e: " it is", contexts=lambda e: [context(e), Document("other")])
    elif mode == "generate":
        prompt = Prompt("paper", context, gold)
    values: dict[str, Any] = {
        "name": f"toy_{mode}",
        "title": "Toy",
        "group": "language",
        "mode": mode,
        "read": read,
        "split": "test",
        "prompts": (prompt,),
        "metrics": ("toy_length",) if mode == "generate" else ("toy_accuracy",),
        "source": SOURCE,
        "shots": (0, 2, 4) if mode == "choice" else (0,),
        "demonstration_split": "train" if mode == "choice" else None,
        "num_examples": {"test": 50},
        "chance": 0.5,
        "decoding": {"max_new_tokens": 5} if mode == "generate" else {},
    }
    return Benchmark(**{**values, **changes})


@dataclass
class FreeEngine:
    """Answers by a hash of what it is asked and of `salt`; `asked` counts documents."""

    asked: int = 0
    salt: str = ""

    def score(self, documents: Sequence[Document], candidates: Sequence[Sequence[str]]) -> list[list[Score]]:
        self.asked += len(documents)
        return [
            [Score(-1 - _number(document.text, text + self.salt) / 7, 1 + len(text) % 3) for text in texts]
            for document, texts in zip(documents, candidates, strict=True)
        ]

    def generate(
        self, documents: Sequence[Document], *, options: Any = None, names: Sequence[str] | None = None
    ) -> list[Generation]:
        self.asked += len(documents)
        made = []
        for document in documents:
            number = _number(document.text, str(options) + self.salt)
            text = names[number % len(names)].strip() if names else f"word {number % 1000}"
            made.append(Generation(text, (5, 2), (-0.5, -0.25), "end", -0.75))
        return made


def _number(*texts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:4])


def fits(document: Document, answers: Sequence[str]) -> bool:
    return len(document.text) < 120
