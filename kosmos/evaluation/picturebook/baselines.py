"""Cheap baselines: what a score must beat before it says anything about the model.

A baseline is a function (task, train, test) -> one prediction per test example (several when they tie: each then
counts its share). Fitted baselines see training examples only; the others look at the test item's own pictures.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kosmos.document import Document, Image
from kosmos.errors import DataError, UsageError
from kosmos.errors import nearest as nearest_name
from kosmos.evaluation.metrics import get_metric
from kosmos.evaluation.picturebook.nearest_pixels import nearest, pixels, squared_distances
from kosmos.evaluation.statistics.intervals import Interval, interval, mean
from kosmos.evaluation.task import Task
from kosmos.example import Example

Predictions = list[tuple[str, ...]]
Baseline = Callable[[Task, Sequence[Example], Sequence[Example]], Predictions]


@dataclass(frozen=True)
class BaselineResult:
    """A baseline's score on the task's test set, by the task's own metric."""

    name: str
    score: float
    interval: Interval
    n: int


def run_baselines(task: Task, limit: int | None = None) -> list[BaselineResult]:
    """Fit and score all of the task's baselines, in the order declared. Deterministic."""
    unknown = [name for name in task.baselines if name not in _BASELINES]
    if unknown:
        raise UsageError(f"task {task.name}: no baseline '{unknown[0]}'{nearest_name(unknown[0], _BASELINES)}")
    if not task.baselines:
        return []
    test = task.examples()[:limit]
    fitted = any(name in FITTED for name in task.baselines)
    train: list[Example] = []
    if fitted:
        if task.train_examples is None:
            raise UsageError(f"task {task.name}: its baselines need `train_examples`")
        train = task.train_examples(task.num_train_examples)
        if not train:
            raise DataError(f"task {task.name}: no training examples to fit its baselines on")
    return [_score(task, name, _BASELINES[name](task, train, test), test) for name in task.baselines]


def strongest(results: Sequence[BaselineResult]) -> BaselineResult | None:
    """The baseline with the highest score; the first one of equals."""
    return max(results, key=lambda result: result.score, default=None)


def register_baseline(name: str, baseline: Baseline, fitted: bool = True) -> None:
    """Add a baseline; `fitted` ones are given training examples."""
    _BASELINES[name] = baseline
    FITTED.discard(name)
    if fitted:
        FITTED.add(name)


def majority(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """The commonest training answer, whatever is asked."""
    answer = _commonest([_answer(task, example) for example in train])
    return [(answer,)] * len(test)


def question_majority(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """The commonest training answer to the same question text; to an unknown question the overall one."""
    answers: dict[str, list[str]] = defaultdict(list)
    for example in train:
        answers[task.question(example)].append(_answer(task, example))
    by_question = {question: _commonest(given) for question, given in answers.items()}
    overall = _commonest([_answer(task, example) for example in train])
    return [(by_question.get(task.question(example), overall),) for example in test]


def pixel_nearest_neighbour(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """The answer of the training example whose pictures, end to end, are nearest in pixels (L2)."""
    return _nearest_answers(task, train, test, lambda example: "")


def pixel_nearest_neighbour_same_question(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """The same among the training examples with the same question text; without one, `question_majority`."""
    return _nearest_answers(task, train, test, task.question)


def nearest_demonstration(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """In-context tasks: the label of the demonstration whose picture is nearest in pixels to the last picture.

    Needs `fields["demonstrations"]`: the labels, one for each image but the last. Without any, an empty answer.
    """
    predictions: Predictions = []
    for example in test:
        labels = [str(label) for label in example.fields.get("demonstrations", ())]
        if len(labels) != len(example.images) - 1:
            raise DataError(
                f"task {task.name}, example {example.id}: fields['demonstrations'] must label each image but the last"
            )
        best = _least(_distances(example.images[:-1], example.images[-1])) if labels else []
        predictions.append(tuple(labels[index] for index in best) or ("",))
    return predictions


def random_demonstration(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """In-context tasks: one of the demonstrated labels, drawn blindly (scored by expectation)."""
    labels = [tuple(str(label) for label in example.fields.get("demonstrations", ())) for example in test]
    return [given or ("",) for given in labels]


def central_candidate(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """Mode `yes`, blind to the context: the candidate picture with the least summed distance to the other candidates.

    A set of candidates made by altering the right one gives it away like this.
    """
    predictions: Predictions = []
    for example in test:
        candidates = _candidate_images(task, example)
        sums = sum(_distances(candidates, candidate).astype(np.float64) ** 0.5 for candidate in candidates)
        predictions.append(_indices(_least(np.asarray(sums))))
    return predictions


def candidate_nearest_context(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """Mode `yes`: the candidate picture nearest in pixels to any of the given ones."""
    predictions: Predictions = []
    for example in test:
        candidates = _candidate_images(task, example)
        given = _contexts(task, example)[0].images[:-1]
        rows = [_distances(candidates, image) for image in given]
        predictions.append(_indices(_least(np.min(rows, axis=0)) if rows else list(range(len(candidates)))))
    return predictions


def unseen_candidate(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Predictions:
    """Mode `yes`: any candidate picture that is none of the given ones (scored by expectation).

    In puzzles without noise the answer often is a new picture, so exclusion alone beats chance.
    """
    predictions: Predictions = []
    for example in test:
        candidates = _candidate_images(task, example)
        given = set(_contexts(task, example)[0].images[:-1])
        unseen = [index for index, candidate in enumerate(candidates) if candidate not in given]
        predictions.append(_indices(unseen or list(range(len(candidates)))))
    return predictions


_BASELINES: dict[str, Baseline] = {
    function.__name__: function
    for function in (
        majority,
        question_majority,
        pixel_nearest_neighbour,
        pixel_nearest_neighbour_same_question,
        nearest_demonstration,
        random_demonstration,
        central_candidate,
        candidate_nearest_context,
        unseen_candidate,
    )
}
FITTED = {"majority", "question_majority", "pixel_nearest_neighbour", "pixel_nearest_neighbour_same_question"}


def _score(task: Task, name: str, predictions: Predictions, test: Sequence[Example]) -> BaselineResult:
    metric = get_metric(task.metric)
    values = []
    for example, drawn in zip(test, predictions, strict=True):
        golds = task.golds(example)
        values.append(math.fsum(metric.value(prediction, golds) for prediction in drawn) / len(drawn))
    return BaselineResult(name, mean(values), interval(values, [example.cluster for example in test]), len(values))


def _answer(task: Task, example: Example) -> str:
    """A training example's answer, without the spaces around it."""
    return task.golds(example)[0].strip()


def _commonest(answers: Sequence[str]) -> str:
    """The most frequent answer; among equals the first in alphabetical order."""
    counts = Counter(answers)
    top = max(counts.values())
    return min(answer for answer, count in counts.items() if count == top)


def _nearest_answers(
    task: Task, train: Sequence[Example], test: Sequence[Example], question: Callable[[Example], str]
) -> Predictions:
    fallback = question_majority(task, train, test)
    train_rows = [pixels(example.images) for example in train]
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, example in enumerate(train):
        groups[question(example), len(train_rows[index])].append(index)
    wanted: dict[tuple[str, int], list[int]] = defaultdict(list)
    test_rows = [pixels(example.images) for example in test]
    for index, example in enumerate(test):
        wanted[question(example), len(test_rows[index])].append(index)
    predictions = list(fallback)
    for key, queries in wanted.items():
        members = groups.get(key, [])
        if not members or key[1] == 0:
            continue
        found = nearest(np.stack([test_rows[q] for q in queries]), np.stack([train_rows[m] for m in members]))
        for query, index in zip(queries, found):
            predictions[query] = (_answer(task, train[members[int(index)]]),)
    return predictions


def _contexts(task: Task, example: Example) -> list[Document]:
    if task.contexts is None:
        raise UsageError(f"task {task.name}: this baseline is for mode 'yes' only")
    return task.contexts(example)


def _candidate_images(task: Task, example: Example) -> list[Image]:
    return [context.images[-1] for context in _contexts(task, example)]


def _distances(images: Sequence[Image], reference: Image) -> np.ndarray:
    """Exact squared pixel distances; a picture of another size is infinitely far. float64 [N]."""
    target = pixels([reference])
    rows = [pixels([image]) for image in images]
    return np.array([squared_distances(r[None], target)[0] if len(r) == len(target) else np.inf for r in rows])


def _least(distances: np.ndarray) -> list[int]:
    return [int(index) for index in np.flatnonzero(distances == distances.min())]


def _indices(best: list[int]) -> tuple[str, ...]:
    return tuple(str(index) for index in best)
