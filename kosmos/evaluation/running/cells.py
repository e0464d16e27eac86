"""Cells: a benchmark with a prompt, a number of demonstrations and a seed; and the items that it asks.

An item is one example made ready for the Engine: its requests (a Document and the candidates behind it), with the
demonstrations in front. Cells and items depend on the data and the settings alone, never on ranks or on what was
done before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from kosmos.document import Document, End, Image, Segment, Text
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.running.demonstrations import draw_demonstrations
from kosmos.example import Example

# The paper's chain of thought: a greedy rationale of at most so many tokens (a default of ours; it does not say).
RATIONALE_TOKENS = 64
# Demonstrations kept ready.
_MAX_SHOWN = 2048


@dataclass(frozen=True)
class Cell:
    """One number of the table: `held_to_names` asks for one of the benchmark's names (ImageNet's second column)."""

    benchmark: Benchmark
    prompt: Prompt
    shots: int = 0
    seed: int = 0
    held_to_names: bool = False

    def __post_init__(self) -> None:
        self.benchmark.check_shots(self.shots)
        if self.held_to_names and self.benchmark.names is None:
            raise UsageError(f"benchmark {self.benchmark.name} has no list of names to hold an answer to")

    @property
    def name(self) -> str:
        """File-name safe and unique: boolq, boolq-k4, boolq-lm_eval-k4-s1, imagenet-names."""
        parts = [self.benchmark.name]
        if self.prompt.name != self.benchmark.prompts[0].name:
            parts.append(self.prompt.name)
        if self.held_to_names:
            parts.append("names")
        if self.shots:
            parts.append(f"k{self.shots}")
        if self.seed:
            parts.append(f"s{self.seed}")
        return "-".join(parts)

    @property
    def generates(self) -> bool:
        return self.benchmark.mode in ("generate", "names")

    @property
    def settings(self) -> dict[str, object]:
        """What the answers depend on beside weights, prompts and pictures."""
        return {
            "benchmark": self.benchmark.name,
            "mode": self.benchmark.mode,
            "prompt": self.prompt.name,
            "shots": self.shots,
            "seed": self.seed,
            "held_to_names": self.held_to_names,
            "decoding": {**self.benchmark.decoding, "stop": list(self.prompt.stop)} if self.generates else {},
        }


@dataclass(frozen=True)
class Request:
    """What the Engine is asked: continue `document`, or score `candidates` behind it."""

    document: Document
    candidates: tuple[str, ...] = ()

    @cached_property
    def content(self) -> str:
        """A hash of text, pictures and candidates."""
        return hashlib.sha256(json.dumps([self.document.sha256, self.candidates]).encode()).hexdigest()


@dataclass(frozen=True)
class Item:
    """One example made ready.

    texts    the candidates as strings, one per option
    cost     rough tokens
    dropped  demonstrations that did not fit
    cut      whether the question itself lost words because it did not fit
    """

    example: Example
    requests: tuple[Request, ...]
    texts: tuple[str, ...]
    demonstrations: tuple[str, ...]
    cost: int
    dropped: int = 0
    cut: bool = False


class Preparer:
    """Makes the items of one cell. `fits(document)` says whether a prompt leaves room for the answer."""

    def __init__(self, cell: Cell, folder: Path, fits: Callable[[Document, Sequence[str]], bool], latents: int) -> None:
        self.cell = cell
        self._fits = fits
        self._latents = latents
        benchmark = cell.benchmark
        self.examples = benchmark.read(folder, benchmark.split)
        self.names = tuple(benchmark.names(folder)) if cell.held_to_names and benchmark.names is not None else None
        self._same_split = benchmark.demonstration_split == benchmark.split
        self._shown: dict[str, list[Segment]] = {}
        self._pool: list[Example] = []
        if cell.shots:
            assert benchmark.demonstration_split is not None  # checked by Benchmark
            self._pool = self.examples if self._same_split else benchmark.read(folder, benchmark.demonstration_split)

    def cost(self, example: Example) -> int:
        """Rough tokens of an item, told without its demonstrations and before any rationale; only to sort by."""
        text = sum(len(value) for value in example.fields.values() if isinstance(value, str))
        return 8 + text // 4 + self._latents * len(example.images)

    def item(self, example: Example, rationale: str | None = None) -> Item:
        """The requests of one example. Demonstrations that do not fit are dropped from the front, and counted."""
        if rationale is not None:
            example = replace(example, fields={**example.fields, "rationale": rationale})
        cell, prompt = self.cell, self.cell.prompt
        drawn = draw_demonstrations(cell.benchmark.name, example, self._pool, cell.shots, cell.seed, self._same_split)
        mode = cell.benchmark.mode
        if mode in ("partial", "yes"):
            assert prompt.contexts is not None
            bare = [context.unsupervised() for context in prompt.contexts(example)]
            answers: tuple[str, ...] = (prompt.answer(example),)
            texts = tuple(str(n) if mode == "yes" else _last_text(context) for n, context in enumerate(bare))
        else:
            bare = [prompt.context(example).unsupervised()]
            answers = tuple(prompt.candidates(example)) if prompt.candidates is not None else ()
            answers = answers if mode == "choice" else ()
            texts = answers
        kept, cut = list(drawn), False
        while True:
            front = _joined([self._demonstration(shown) for shown in kept], prompt.separator)
            documents = [Document(*front, *document) for document in bare]
            if all(self._fits(document, answers) for document in documents):
                break
            if not kept:
                cut = True
                documents = [shortened(document, answers, self._fits, prompt.cut) for document in documents]
                break
            kept.pop(0)
        return Item(
            example,
            tuple(Request(document, answers) for document in documents),
            texts,
            tuple(shown.id for shown in kept),
            self.cost(example),
            len(drawn) - len(kept),
            cut,
        )

    def _demonstration(self, example: Example) -> list[Segment]:
        """As `demonstration_of`, made once for each of the last few thousand."""
        if example.id not in self._shown:
            if len(self._shown) >= _MAX_SHOWN:
                self._shown.clear()
            self._shown[example.id] = demonstration_of(self.cell.prompt, example)
        return self._shown[example.id]

    def rationale_request(self, example: Example) -> Request:
        """Chain of thought, first stage."""
        assert self.cell.prompt.rationale is not None
        return Request(self.cell.prompt.rationale(example).unsupervised())


def shortened(
    document: Document, answers: Sequence[str], fits: Callable[[Document, Sequence[str]], bool], where: str
) -> Document:
    """The document with as many words of its longest text as fit, cut at its "start" or "end".

    Raises DataError when it does not fit without any of them.
    """
    segments = list(document)
    texts = [place for place, segment in enumerate(segments) if isinstance(segment, Text)]
    longest = max(texts, key=lambda place: len(str(getattr(segments[place], "text", ""))), default=None)
    if longest is not None:
        segment = segments[longest]
        assert isinstance(segment, Text)
        words = segment.text.split(" ")

        def keeping(count: int) -> Document:
            kept = words[len(words) - count :] if where == "start" else words[:count]
            return Document(*segments[:longest], Text(" ".join(kept), supervised=False), *segments[longest + 1 :])

        low, high = 0, len(words)  # `low` words fit, `high` do not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(keeping(middle), answers) else (low, middle)
        if low:
            return keeping(low)
    raise DataError("the prompt does not fit into the model's length even without its longest text")


def demonstration_of(prompt: Prompt, example: Example) -> list[Segment]:
    """An example with its answer, nothing supervised."""
    return list(Document(*prompt.context(example), Text(prompt.answer(example))).unsupervised())


def _joined(demonstrations: Sequence[Sequence[Segment]], separator: str) -> list[Segment]:
    """Demonstrations, each followed by the separator: the end token, a text, or nothing."""
    made: list[Segment] = []
    for demonstration in demonstrations:
        made += demonstration
        if separator == "</s>":
            made.append(End(supervised=False))
        elif separator:
            made.append(Text(separator, supervised=False))
    return made


def _last_text(document: Document) -> str:
    texts = [segment.text for segment in document if isinstance(segment, Text)]
    return texts[-1] if texts else ""


def pictures_of(item: Item) -> list[Image]:
    """All pictures of an item's requests."""
    return [image for request in item.requests for image in request.document.images]
