from __future__ import annotations

from typing import Any

import pytest

from kosmos.evaluation.picturebook.verdict import verdict


def row(**fields: Any) -> dict[str, Any]:
    return {
        "expects_chance": False,
        "learned": "not learned",
        "beats_chance": False,
        "beats_baseline": None,
        "score": 0.5,
        "baselines": [],
        "strongest_baseline": None,
    } | fields


@pytest.mark.parametrize(
    ("fields", "text", "kind"),
    [
        ({"expects_chance": True}, "at chance, as it must be", "control"),
        # Above chance, but not above the blank picture's: a control must not be called at chance for that.
        ({"expects_chance": True, "beats_chance": True}, "above chance: look into it", "partly"),
        ({"expects_chance": True, "beats_chance": True, "learned": "learned"}, "above chance: look into it", "partly"),
        ({"beats_chance": True}, "not learned", "not_learned"),
        ({"beats_chance": True, "learned": "learned"}, "learned", "learned"),
    ],
)
def test_a_verdict(fields: dict[str, Any], text: str, kind: str) -> None:
    found = verdict(row(**fields))
    assert (found.text, found.kind) == (text, kind)


@pytest.mark.parametrize(("baseline", "text"), [(0.6, "learned, below baseline"), (0.4, "learned, near baseline")])
def test_a_baseline_that_is_not_beaten(baseline: float, text: str) -> None:
    beaten = row(
        learned="learned",
        beats_baseline=False,
        strongest_baseline="majority",
        baselines=[{"name": "majority", "score": baseline}],
    )
    assert verdict(beaten).text == text
