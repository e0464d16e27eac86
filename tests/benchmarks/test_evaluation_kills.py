"""The small form of the evaluation's kills: two of them, then a comparison."""

from __future__ import annotations

import json

import pytest

from benchmarks.evaluation import kills


def test_killed_and_resumed_is_undisturbed(capsys: pytest.CaptureFixture[str]) -> None:
    found = kills.main(["--small", "--kills", "2"])
    assert (found["kills"], found["different"], found["files_compared"]) == (2, 0, 4)
    assert sum(found["hit"].values()) == 2
    assert found["groups_written"] >= found["groups"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["benchmark"] == "evaluation.kills"
