"""Ask the Engine: a task's items become requests, equal requests are asked once, answers become predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kosmos.document import Document
from kosmos.errors import DataError
from kosmos.evaluation.metrics import get_metric
from kosmos.evaluation.picturebook.blank import blank_images
from kosmos.evaluation.statistics.ties import tied_best
from kosmos.evaluation.task import Task
from kosmos.example import Example

# Requests per call of the Engine: enough to fill its batches, few enough to show progress.
CHUNK = 128


class GenerationLike(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> str: ...


class ScoreLike(Protocol):
    @property
    def sum(self) -> float: ...
    @property
    def num_tokens(self) -> int: ...


class EngineLike(Protocol):
    """What evaluation needs of `kosmos.inference.engine.Engine`; tests put scripted engines behind it."""

    def generate(self, documents: list[Document], max_new_tokens: int) -> Sequence[GenerationLike]: ...
    def score(self, documents: list[Document], candidates: list[list[str]]) -> Sequence[Sequence[ScoreLike]]: ...


@dataclass(frozen=True)
class Item:
    """One example made ready: the Documents the model is shown (one, or one per candidate in mode `yes`), the
    candidates scored after them, and the accepted answers."""

    example: Example
    documents: tuple[Document, ...]
    hashes: tuple[str, ...]
    candidates: tuple[str, ...]
    golds: tuple[str, ...]


@dataclass(frozen=True)
class Response:
    """The model's answer to one item and its value in [0, 1]. `scores` are the candidates' (empty when generated)."""

    prediction: str
    value: float
    scores: tuple[float, ...] = ()
    ties: int = 1
    finish_reason: str = ""


@dataclass
class Requests:
    """The distinct requests of a task, cheapest shapes first so that batches are even. `cost` is in rough tokens."""

    task: Task
    order: list[tuple[Document, tuple[str, ...]]] = field(default_factory=list)
    keys: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    @property
    def cost(self) -> int:
        return sum(_cost(document, self.task) for document, _ in self.order)


def prepare(task: Task, example: Example, blank: bool) -> Item:
    """Make one example ready for the Engine."""
    if task.mode == "yes":
        assert task.contexts is not None  # checked by Task
        documents = [context.unsupervised() for context in task.contexts(example)]
        if not 0 <= task.gold_index(example) < len(documents):
            raise DataError(f"task {task.name}, example {example.id}: gold is not one of {len(documents)} candidates")
        both = task.normalization == "yes_no"
        candidates: tuple[str, ...] = (task.affirmative, task.negative) if both else (task.affirmative,)
    else:
        documents = [task.prompt(example)]
        candidates = tuple(task.candidates(example)) if task.mode == "choice" else ()
    if blank:
        documents = [blank_images(document) for document in documents]
    hashes = tuple(document.sha256 for document in documents)
    return Item(example, tuple(documents), hashes, candidates, tuple(task.golds(example)))


def collect_requests(task: Task, items: Sequence[Item]) -> Requests:
    """The distinct requests of `items`; a blank picture makes many prompts equal, and equal ones must tie exactly."""
    distinct: dict[tuple[str, tuple[str, ...]], Document] = {}
    for item in items:
        for document, key in zip(item.documents, item.hashes):
            distinct.setdefault((key, item.candidates), document)
    ordered = sorted(distinct.items(), key=lambda entry: (_cost(entry[1], task), entry[0]))
    return Requests(task, [(document, key[1]) for key, document in ordered], [key for key, _ in ordered])


def ask(
    engine: EngineLike, requests: Requests, items: Sequence[Item], advance: Callable[[int], None] = lambda cost: None
) -> list[Response]:
    """Run the requests through the Engine in chunks and read off the answer to each item, in order."""
    task = requests.task
    answers: dict[tuple[str, tuple[str, ...]], Any] = {}
    for chunk in _chunks(len(requests.order)):
        documents = [requests.order[index][0] for index in chunk]
        results: Sequence[Any]
        if task.mode == "generate":
            results = engine.generate(documents, task.max_new_tokens)
        else:
            results = engine.score(documents, [list(requests.order[index][1]) for index in chunk])
        for index, result in zip(chunk, results, strict=True):
            answers[requests.keys[index]] = result
        advance(sum(_cost(document, task) for document in documents))
    return [_read(task, item, [answers[key, item.candidates] for key in item.hashes]) for item in items]


def _read(task: Task, item: Item, answers: list[Any]) -> Response:
    metric = get_metric(task.metric)
    if task.mode == "generate":
        text = answers[0].text
        return Response(text, metric.value(text, item.golds), finish_reason=answers[0].finish_reason)
    if task.mode == "choice":
        scores = [_normalized(task, text, score) for text, score in zip(item.candidates, answers[0], strict=True)]
        best = tied_best(scores)
        values = [metric.value(item.candidates[index], item.golds) for index in best]
        return Response(item.candidates[best[0]], math.fsum(values) / len(best), tuple(scores), len(best))
    scores = [_affirmation(task, answer) for answer in answers]
    best = tied_best(scores)
    value = float(task.gold_index(item.example) in best) / len(best)
    return Response(str(best[0]), value, tuple(scores), len(best))


def _normalized(task: Task, text: str, score: ScoreLike) -> float:
    if task.normalization == "per_token":
        return score.sum / max(1, score.num_tokens)
    if task.normalization == "per_character":
        return score.sum / max(1, len(text.strip()))
    return score.sum


def _affirmation(task: Task, scores: Sequence[ScoreLike]) -> float:
    if task.normalization != "yes_no":
        return _normalized(task, task.affirmative, scores[0])
    yes, no = scores[0].sum, scores[1].sum
    largest = max(yes, no)
    return yes - largest - math.log(math.exp(yes - largest) + math.exp(no - largest))


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, CHUNK):
        yield range(start, min(start + CHUNK, count))


def _cost(document: Document, task: Task) -> int:
    return len(document.text) // 4 + 16 * len(document.images) + 2 * task.max_new_tokens
