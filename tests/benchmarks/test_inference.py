"""The small forms of the inference benchmarks: what comes out is checked; how fast it was never is."""

from __future__ import annotations

import json

import pytest

from benchmarks.inference import against_transformers, full_size, soak


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
    assert sum(result["compared"].values()) == 40
    assert len(result["compared"]) > 8


def test_captions_and_questions_are_those_of_transformers(capsys: pytest.CaptureFixture[str]) -> None:
    result = full_size.main(["--small", "--device", "cpu", "--pairs", "1"])
    assert [row["equal"] for row in result["rows"]] == [1.0] * 5
    assert all(row["ours"] > 0 and row["theirs"] > 0 for row in result["rows"])
    assert [row["case"] for row in result["rows"] if "bandwidth %" in row] == [
        "decoding, batch 1",
        "decoding, batch 2",
    ]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["benchmark"] == "inference.full_size"


def test_the_full_size_needs_a_gpu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for arguments, said in ((["--device", "cuda"], "no GPU here"), (["--device", "cpu"], "add --small")):
        with pytest.raises(SystemExit) as left:
            full_size.main(arguments)
        assert left.value.code == 2
        assert said in capsys.readouterr().err
