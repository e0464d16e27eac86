"""Samples: what was asked and answered for one example, as samples/CELL.jsonl keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kosmos.evaluation.metrics.answered import Answered
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.statistics.ties import tied_best
from kosmos.example import Example

NORMALIZATIONS = ("per_token", "sum", "per_character", "per_byte")


def sample_of(cell: Cell, example: Example, response: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the samples file."""
    sample: dict[str, Any] = {
        "id": example.id,
        "split": cell.benchmark.split,
        "cluster": example.cluster,
        "key": response["key"],
        "shots": cell.shots,
        "label": example.fields.get("label"),
        "answers": [str(answer) for answer in example.fields.get("answers", ())],
        "image_sha256": response.get("image_sha256", []),
    }
    if "broken" in response:
        return {**sample, "broken": response["broken"]}
    sample["prompts"] = response["prompts"]
    sample["demonstrations"] = response["demonstrations"]
    sample["demonstrations_dropped"] = response["dropped"]
    sample["cut"] = response["cut"]
    if "rationale" in response:
        sample["rationale"] = response["rationale"]
    if cell.generates:
        (answer,) = response["answers"]
        return {**sample, "prediction": answer["text"], "finish_reason": answer["finish_reason"],
                "tokens": answer["tokens"], "score": answer["score"]}  # fmt: skip
    pairs = _pairs(cell, response)
    texts = response["texts"]
    sample["candidates"] = texts
    sample["log_probs"] = [pair[0] for pair in pairs]
    sample["tokens"] = [pair[1] for pair in pairs]
    scored = texts if cell.benchmark.mode == "choice" else [cell.prompt.answer(example)] * len(pairs)
    sample["scores"] = {name: compared(pairs, scored, name) for name in NORMALIZATIONS}
    best, ties = winner(sample["scores"][cell.prompt.normalization])
    return {**sample, "prediction": texts[best], "choice": best, "ties": ties}


def answered(sample: Mapping[str, Any], normalization: str, fields: Mapping[str, Any]) -> Answered:
    """A sample as its metrics see it; candidates are compared by `normalization`."""
    scores = tuple(sample["scores"][normalization]) if "scores" in sample else ()
    prediction, ties = sample["prediction"], 1
    if scores:
        best, ties = winner(scores)
        prediction = sample["candidates"][best]
    return Answered(
        id=sample["id"],
        prediction=prediction,
        answers=tuple(sample["answers"]),
        label=sample["label"],
        scores=scores,
        ties=ties,
        cluster=sample["cluster"],
        fields=fields,
    )


def compared(pairs: Sequence[Sequence[float]], texts: Sequence[str], normalization: str) -> list[float]:
    """Candidates' summed log-probs made comparable, higher is better. The space before a text is not counted."""
    if normalization == "per_token":
        return [total / max(1, tokens) for total, tokens in pairs]
    if normalization == "per_character":
        return [total / max(1, len(text.removeprefix(" "))) for (total, _), text in zip(pairs, texts)]
    if normalization == "per_byte":
        return [total / max(1, len(text.removeprefix(" ").encode())) for (total, _), text in zip(pairs, texts)]
    return [total for total, _ in pairs]


def winner(scores: Sequence[float]) -> tuple[int, int]:
    """Index of the best score and how many tie with it. Raises DataError when one is not a number."""
    tied = tied_best(scores)
    return tied[0], len(tied)


def _pairs(cell: Cell, response: Mapping[str, Any]) -> list[list[float]]:
    """[sum, tokens] per option: the candidates of one request, or the one candidate of several."""
    if cell.benchmark.mode == "choice":
        (pairs,) = response["answers"]
        return list(pairs)
    return [answer[0] for answer in response["answers"]]
