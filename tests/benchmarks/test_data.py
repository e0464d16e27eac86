"""The small forms of the data benchmarks: what they say is checked where it is exact; how fast it was never is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.data import budget, elasticity, feed, kill_points, packing, pairs, resume


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, so that the tokenizer is trained once."""
    return tmp_path_factory.mktemp("benchmarks")


def test_pairs_have_the_pixels_of_plain_pillow(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [row] = pairs.main([str(folder), "--small", "--only", "ours"])["rows"]
    assert "error" not in row
    assert row["samples"] >= 60
    assert row["rate"] > 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["benchmark"] == "pairs"
    assert printed["machine"]["versions"]["torch"]


def test_packing_loses_nothing_and_wastes_little() -> None:
    rows = packing.main(["--small"])["rows"]
    found = {(row["source"], row["rule"]): row for row in rows}
    assert not [row["error"] for row in rows if "error" in row]
    for (source, rule), row in found.items():
        if rule.startswith("ours"):
            assert (row["cropped %"], row["pictures cut"]) == (0, 0), (source, rule)
    assert found["text", "ours, stream"]["padding %"] == 0
    assert found["text", "ours, full sentences"]["padding %"] < 4
    assert found["pairs", "ours, look-ahead 16"]["padding %"] < 0.1
    assert found["interleaved", "ours, look-ahead 48"]["padding %"] < 1.5
    assert found["text", "best fit (nanochat)"]["cropped %"] > 3
    assert found["pairs", "concatenate and cut"]["pictures cut"] > 50
    assert found["pairs", "kosmos-2"]["padding %"] > 5


def test_every_step_has_its_budget() -> None:
    result = budget.main(["--small"])
    [ours] = [row for row in result["rows"] if row["mixer"] == "ours"]
    assert (ours["mean %"], ours["worst %"], ours["steps"]) == (0, 0, 10)
    assert 96 < ours["filled %"]["text"] <= 100
    assert ours["filled %"]["pairs"] > 99
    assert sum(row["ours: in all %"] for row in result["corpora"]) == pytest.approx(100)


def test_killed_and_resumed_repeats_and_skips_nothing(folder: Path) -> None:
    [row] = kill_points.main([str(folder), "--small", "--only", "ours"])["rows"]
    assert (row["repeated"], row["skipped"], row["moved"], row["failed"], row["exact"]) == (0, 0, 0, 0, "3 of 3")


def test_another_number_of_ranks_keeps_the_stream(folder: Path) -> None:
    [row] = elasticity.main([str(folder), "--small", "--only", "ours"])["rows"]
    assert [row["kept 2 -> 1"], row["kept 1 -> 2"], row["kept 2 -> 3"]] == [True, True, True]


def test_a_late_state_opens_and_makes_a_whole_step(folder: Path) -> None:
    rows = resume.main([str(folder), "--small"])["rows"]
    assert [row["step"] for row in rows] == [0, 1, 299_999]
    assert not [row["error"] for row in rows if "error" in row]
    assert len({row["slots"] for row in rows}) == 1
    assert all(row["images"] > 0 for row in rows)
    # Nothing that grows with the steps: numbers get longer, that is all.
    assert rows[-1]["state bytes"] < 1.5 * rows[1]["state bytes"]


def test_feed_counts_tokens_and_pictures(folder: Path) -> None:
    result = feed.main([str(folder), "--small"])
    text, pictures = result["sources"]["text"], result["sources"]["pairs"]
    assert text["images"] == 0 < pictures["images"]
    assert text["tokens"] > 50_000
    assert result["cores"][0] < result["cores"][1]
