"""Samples for the report: the worst and the best of each dataset, with small forms of their pictures."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kosmos.document import Image
from kosmos.errors import DataError
from kosmos.evaluation.reporting.page import Shown, shorten
from kosmos.example import Example
from kosmos.images import decode_image

# Cell -> its examples by id, where the data folder was given; else nothing.
Examples = Callable[[str], Mapping[str, Example]]

NUM_SHOWN = 3
_SIDE = 128
_MAX_PICTURES = 9
Sample = Mapping[str, Any]


def worst_and_best(
    samples: Sequence[Sample], metric: str, normalization: str | None, count: int = NUM_SHOWN
) -> tuple[list[Sample], list[Sample]]:
    """By the metric's value, then by how sure the model was of it; equal ones in the order of their ids.

    Without values of items (ROC AUC) by how far the right answer is ahead. None is in both lists.
    """
    whole = [sample for sample in samples if "broken" not in sample]
    order = sorted(whole, key=lambda sample: (*_goodness(sample, metric, normalization), str(sample["id"])))
    count = min(count, len(order) // 2)
    return order[:count], order[len(order) - count :][::-1]


def lead(sample: Sample, normalization: str | None) -> float | None:
    """How far the right candidate's score is ahead of the best other one; negative where another is chosen."""
    if "scores" not in sample or sample["label"] is None:
        return None
    scores = sample["scores"][normalization or "per_token"]
    others = [score for place, score in enumerate(scores) if place != sample["label"]]
    return float(scores[sample["label"]] - max(others)) if others else None


def shown(sample: Sample, metric: str, normalization: str | None, example: Example | None) -> Shown:
    """One sample for the page, with the example's pictures where they are still the ones that were asked with."""
    value = sample.get("values", {}).get(metric)
    pictures, missing = _pictures(sample, example)
    return Shown(
        title=f"{sample['id']}" + ("" if value is None or value in (0.0, 1.0) else f", {value:.3g}"),
        right=bool(value) if value in (0.0, 1.0) else None,
        lines=tuple(_lines(sample, normalization)),
        pictures=pictures,
        missing=missing,
    )


def _lines(sample: Sample, normalization: str | None) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    prompts = sample.get("prompts", [])
    if prompts:
        more = f" (the first of {len(prompts)})" if len(prompts) > 1 else ""
        lines.append((f"prompt{more}", shorten(prompts[0], 400)))
    if sample.get("rationale"):
        lines.append(("rationale", shorten(sample["rationale"])))
    lines.append(
        ("answer", _option(sample, sample.get("choice")) if "choice" in sample else shorten(sample["prediction"]))
    )
    if "choice" in sample:
        lines.append(("right answer", _option(sample, sample["label"])))
    elif sample["answers"]:
        lines.append(("right answers", shorten(" | ".join(dict.fromkeys(sample["answers"])), 320)))
    ahead = lead(sample, normalization)
    if ahead is not None:
        lines.append(("lead of the right answer", f"{ahead:+.3f}"))
    if sample.get("demonstrations"):
        lines.append(("demonstrations", shorten(", ".join(sample["demonstrations"]))))
    return lines


def _option(sample: Sample, place: int | None) -> str:
    if place is None:
        return ""
    text = sample["candidates"][place].strip()
    return f"candidate {place + 1}" if text == str(place) else shorten(text)


def _pictures(sample: Sample, example: Example | None) -> tuple[tuple[bytes, ...], str]:
    hashes = sample.get("image_sha256", [])
    if not hashes:
        return (), ""
    if example is None:
        return (), f"{len(hashes)} pictures, not shown: `kosmos eval report DIR --data DIR` shows them"
    made: list[bytes] = []
    for image, known in list(zip(example.images, hashes))[:_MAX_PICTURES]:
        try:
            if image.sha256 != known:
                return tuple(made), "a picture is not the one that was asked with, and is not shown"
            made.append(thumbnail(image))
        except DataError as error:
            return tuple(made), f"a picture cannot be shown: {error}"
    return tuple(made), ""


def thumbnail(image: Image, side: int = _SIDE) -> bytes:
    """A small JPEG, its longer side `side` pixels at most. Raises ImageError for a broken picture."""
    small = decode_image(image)
    small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def _goodness(sample: Sample, metric: str, normalization: str | None) -> tuple[float, float]:
    """Low is bad. A wrong answer is the worse the surer the model was of it, a right one the better."""
    ahead = lead(sample, normalization)
    value = sample.get("values", {}).get(metric)
    if ahead is not None:
        return (0.0 if value is None else value, ahead)
    value = 0.0 if value is None else value
    sureness = float(sample.get("score") or 0.0)
    return (value, sureness if value > 0 else -sureness)
