from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.metrics.web_answer import web_exact_match, web_f1


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("The 20 MPG.", ["20 mpg"], 1.0, 1.0),
        ("20", ["20 MPG"], 0.0, 2 / 3),
        ("20MPG", ["20 MPG"], 0.0, 0.0),
        ("$5.00", ["500"], 1.0, 1.0),  # marks vanish without a space
        ("red red blue", ["red blue blue"], 0.0, 2 / 3),  # bags of words, not sets
        ("no", ["yes", "No"], 1.0, 1.0),
        ("", ["the"], 1.0, 1.0),
        ("", ["yes"], 0.0, 0.0),
    ],
)
def test_values(prediction: str, answers: list[str], exact: float, f1: float) -> None:
    assert web_exact_match(prediction, answers) == exact
    assert web_f1(prediction, answers) == pytest.approx(f1)


def test_the_set_is_the_mean_and_needs_answers() -> None:
    given = [Answered("a", "20", ("20 MPG",)), Answered("b", "yes", ("yes",))]
    assert set_metric("web_em").measure(given).value == 0.5
    assert set_metric("web_f1").measure(given).values == pytest.approx((2 / 3, 1.0))
    with pytest.raises(DataError, match="question c has no accepted answer"):
        set_metric("web_f1").measure([Answered("c", "yes")])
    with pytest.raises(UsageError, match="web_em needs at least one"):
        set_metric("web_em").measure([])


def test_all_official_pairs(published: Callable[[str], Any]) -> None:
    pairs = published("oracles/websrc_em_f1.json")
    assert len(pairs) == 120
    assert [web_exact_match(pair["pred"], [pair["gold"]]) for pair in pairs] == [pair["em"] for pair in pairs]
    assert [web_f1(pair["pred"], [pair["gold"]]) for pair in pairs] == pytest.approx([pair["f1"] for pair in pairs])
