from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kosmos.errors import UsageError
from kosmos.evaluation.metrics import Metric, get_metric, register_metric
from kosmos.evaluation.metrics.exact_match import exact_match
from kosmos.evaluation.metrics.normalization import normalize
from kosmos.evaluation.metrics.token_f1 import token_f1


@pytest.mark.parametrize(
    ("prediction", "golds", "value"),
    [
        (" Red  Apple\n", ["red apple"], 1.0),
        ("red apple.", ["red apple"], 0.0),
        ("redapple", ["red apple"], 0.0),
        ("b", ["a", "B"], 1.0),
        ("", [""], 1.0),
        ("", ["a"], 0.0),
    ],
)
def test_exact_match(prediction: str, golds: list[str], value: float) -> None:
    assert exact_match(prediction, golds) == value


@pytest.mark.parametrize(
    ("prediction", "golds", "value"),
    [
        ("a red apple", ["red apple"], 0.8),  # 2 shared of 3 and of 2 words
        ("the the cat", ["the cat"], 0.8),  # words count as often as they come
        ("There is a dog.", ["there is a dog"], 1.0),
        ("cat", ["dog", "black cat"], 2 / 3),
        ("", ["dog"], 0.0),
        ("", [""], 1.0),
        ("...", ["dog"], 0.0),
    ],
)
def test_token_f1(prediction: str, golds: list[str], value: float) -> None:
    assert token_f1(prediction, golds) == pytest.approx(value, abs=1e-12)


@given(st.text(), st.text())
def test_metrics_are_symmetric_bounded_and_full_on_the_gold(a: str, b: str) -> None:
    for metric in (exact_match, token_f1):
        assert metric(a, [a]) == 1.0
        assert 0.0 <= metric(a, [b]) <= 1.0
        assert metric(a, [b]) == metric(b, [a])
        assert metric(a, [b]) <= metric(a, [b, a])


@given(st.text())
def test_normalisation_is_idempotent(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)
    assert "  " not in normalize(text)


def test_an_unknown_metric_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'exact_match'"):
        get_metric("exact_mach")


def test_a_metric_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kosmos.evaluation.metrics._METRICS", {})
    register_metric(Metric("first_letter", lambda prediction, golds: float(prediction[:1] in {g[:1] for g in golds})))
    assert get_metric("first_letter").value("apple", ["ant"]) == 1.0
