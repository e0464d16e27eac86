"""The small forms of the inference benchmarks: what comes out is checked; how fast it was never is."""

from __future__ import annotations

import json

import pytest

from benchmarks.inference import against_transformers, soak


def test_transformers_makes_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    rows = against_transformers.main(["--small", "--threads", "1"])["rows"]
    assert not [row for row in rows if row["wrong"]]
    cases = {row["case"] for row in rows}
    assert {"greedy, prompt 32", "beam 5, prompt 32", "greedy, 8 prompts of 8 to 64"} <= cases
    assert len([case for case in cases if "scoring" in case]) == 6
    assert all(row["difference"] < 1e-4 for row in rows if "scoring" in row["case"])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["benchmark"] == "inference.against_transformers"
    assert len(printed["rows"]) == len(rows)


@pytest.mark.parametrize("positions", ["xpos", "sinusoidal"])
def test_a_short_soak(positions: str) -> None:
    result = soak.main(["--small", "--positions", positions])
    assert result["wrong"] == []
    assert result["free_slots"] == soak.SLOTS
    assert sum(result["compared"].values()) == 60
    assert len(result["compared"]) > 8
