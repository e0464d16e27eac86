from __future__ import annotations

import pytest

from kosmos.evaluation.picturebook.ability import Ability
from kosmos.evaluation.picturebook.baselines import BaselineResult
from kosmos.evaluation.picturebook.runner import TaskResult
from kosmos.evaluation.picturebook.verdict import baseline_cell, interval_cell, percent, verdict
from kosmos.evaluation.statistics.intervals import wilson
from tests.evaluation.scripted import shade_task


def result(score: float, n: int = 400) -> TaskResult:
    right = round(score * n)
    values = (1.0,) * right + (0.0,) * (n - right)
    return TaskResult("shade", n, right / n, wilson(right / n, n), values, ("x",) * n, 0, False, "f" * 64)


def ability(score: float, blank: float | None = 0.25, baseline: float | None = 0.3, control: bool = False) -> Ability:
    baselines = () if baseline is None else (
        BaselineResult("majority", 0.1, wilson(0.1, 400), 400),
        BaselineResult("pixel_nearest_neighbour", baseline, wilson(baseline, 400), 400),
    )  # fmt: skip
    task = shade_task(expects_chance=control, title="Shades of grey")
    return Ability(task, result(score), None if blank is None else result(blank), baselines, 0.25)


@pytest.mark.parametrize(
    ("made", "learned", "words"),
    [
        (ability(0.6), True, "learned"),
        (ability(0.6, baseline=None), True, "learned"),
        (ability(0.6, blank=None, baseline=None), True, "learned"),
        (ability(0.6, baseline=0.58), True, "learned, near baseline"),
        (ability(0.6, baseline=0.9), True, "learned, below baseline"),
        (ability(0.26), False, "not learned"),
        (ability(0.6, blank=0.57), False, "not learned"),
        (ability(0.05, blank=0.02), False, "not learned"),  # above blank, but not above chance
        (ability(0.25, control=True), False, "at chance, as it must be"),
        (ability(0.6, control=True), True, "above chance: look into it"),
    ],
)
def test_verdicts(made: Ability, learned: bool, words: str) -> None:
    assert made.learned is learned
    assert verdict(made.row()).text == words


def test_the_row_of_the_report() -> None:
    row = ability(0.6).row()
    bound = wilson(0.6, 400)
    assert row["title"] == "Shades of grey"
    assert (row["n"], row["score"], row["chance"]) == (400, 0.6, 0.25)
    assert row["interval"] == [bound.low, bound.high]
    assert row["blank_image"] == {"score": 0.25, "interval": [wilson(0.25, 400).low, wilson(0.25, 400).high]}
    assert [entry["name"] for entry in row["baselines"]] == ["majority", "pixel_nearest_neighbour"]
    assert row["strongest_baseline"] == "pixel_nearest_neighbour"
    assert (row["beats_chance"], row["beats_blank"], row["beats_baseline"]) == (True, True, True)
    assert row["learned"] == "learned"
    assert baseline_cell(row) == "30.0 pixel 1-NN"


def test_what_was_not_measured_is_null_not_false() -> None:
    row = ability(0.6, blank=None, baseline=None).row()
    assert (row["blank_image"], row["beats_blank"]) == (None, None)
    assert (row["strongest_baseline"], row["beats_baseline"]) == (None, None)
    assert baseline_cell(row) == "–"


def test_figures() -> None:
    assert [percent(value) for value in (0.0, 0.00117, 0.025, 0.5, 1.0)] == ["0.0", "0.12", "2.5", "50.0", "100.0"]
    assert interval_cell([0.5123, 0.5789]) == "51.2 – 57.9"
