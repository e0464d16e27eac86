"""How a row of the report is put into words: figures as per cent, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

METRIC_NAMES = {"exact_match": "exact match", "token_f1": "word F1"}
BASELINE_NAMES = {
    "majority": "commonest answer",
    "question_majority": "commonest to the question",
    "pixel_nearest_neighbour": "pixel 1-NN",
    "pixel_nearest_neighbour_same_question": "pixel 1-NN, same question",
    "nearest_demonstration": "nearest demonstration",
    "random_demonstration": "any demonstration",
    "central_candidate": "central candidate",
    "candidate_nearest_context": "candidate nearest to a given",
    "unseen_candidate": "any candidate not given",
}


NOVELTIES = {
    "unseen_word": "word",
    "unseen_pair": "pair",
    "unseen_count": "count of this thing",
}


@dataclass(frozen=True)
class Verdict:
    """`text` for people, `short` where there is little room (at most 13 characters), `kind` for the colour."""

    text: str
    short: str
    kind: Literal["learned", "partly", "not_learned", "control"]


def verdict(row: Mapping[str, Any]) -> Verdict:
    """What the figures of one row of report.json say."""
    if row["expects_chance"]:
        if row["beats_chance"]:
            return Verdict("above chance: look into it", "above chance!", "partly")
        return Verdict("at chance, as it must be", "control", "control")
    if row["learned"] != "learned":
        return Verdict("not learned", "not learned", "not_learned")
    if row["beats_baseline"] is False:
        below = row["score"] <= strongest(row)["score"]
        words = "learned, below baseline" if below else "learned, near baseline"
        return Verdict(words, "≤ baseline" if below else "~ baseline", "partly")
    return Verdict("learned", "learned", "learned")


def strongest(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of the row's strongest baseline."""
    return next(entry for entry in row["baselines"] if entry["name"] == row["strongest_baseline"])


def baseline_cell(row: Mapping[str, Any]) -> str:
    """Score and name of the strongest baseline."""
    if row["strongest_baseline"] is None:
        return "–"
    name = row["strongest_baseline"]
    return f"{percent(strongest(row)['score'])} {BASELINE_NAMES.get(name, name.replace('_', ' '))}"


def percent(value: float) -> str:
    """A score in [0, 1] as per cent with one decimal; small ones with two."""
    return f"{value * 100:.2f}" if 0 < value < 0.005 else f"{value * 100:.1f}"


def interval_cell(bounds: Sequence[float]) -> str:
    return f"{bounds[0] * 100:.1f} – {bounds[1] * 100:.1f}"
