"""The small form of the server's load: what is right is checked, how fast it was never is."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("aiohttp", reason="the extra `web` is not installed")

from benchmarks.serving import load


def test_every_answer_under_load_is_that_of_the_request_alone(capsys: pytest.CaptureFixture[str]) -> None:
    result = load.main(["--small", "--clients", "40"])
    assert result["faults"] == [] and result["wrong"] == 0 and result["broken"] == 0
    assert result["answers"] > 20 and result["outcomes"]["answered"] == result["answers"]
    assert result["exit_code"] == 0 and result["drain_s"] < load.DRAIN_S
    assert 0 < result["most_waiting"] <= load.QUEUE + load.SLOTS
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["benchmark"] == "serving.load"
