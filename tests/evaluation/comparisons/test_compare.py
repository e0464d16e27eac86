from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kosmos.cli.main import main
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.comparisons.compare import compare
from kosmos.evaluation.comparisons.paired import mcnemar
from kosmos.evaluation.reporting.results import Results, load_results
from kosmos.evaluation.running.benchmark_runner import RunSettings, run_benchmarks
from kosmos.evaluation.running.cells import Cell
from kosmos.evaluation.running.plan import make_plan
from kosmos.example import Example
from tests.evaluation.toy import FreeEngine, fits, read, toy

BENCHMARKS = [toy("choice"), toy("yes"), toy("generate")]


def evaluate(
    out: Path, key: str, benchmarks: Sequence[Benchmark] = BENCHMARKS, limit: int | None = None, data: Path = Path()
) -> Results:
    """Results of an engine that answers by a hash of what it is asked and of `key`."""
    cells = [Cell(b, b.prompt(), k) for b in benchmarks for k in (0, 2) if k in b.shots]
    plan = make_plan(cells, lambda name: data, fits, latents=4, limit=limit)
    run_benchmarks(FreeEngine(salt=key), plan, RunSettings(out, key, skip_broken=True, facts={"model": f"runs/{key}"}))
    return load_results(out)


def test_two_evaluations(tmp_path: Path) -> None:
    one, other = evaluate(tmp_path / "a", "a"), evaluate(tmp_path / "b", "b")
    found = compare(one, other)
    assert [line.cell for line in found] == ["toy_choice", "toy_choice-k2", "toy_yes", "toy_generate"]
    first = found[0]
    right = [[s["values"]["toy_accuracy"] for s in r.samples("toy_choice")] for r in (one, other)]
    only = [sum(a > b for a, b in zip(*pair)) for pair in (right, right[::-1])]
    assert (first.result.only_before, first.result.only_after) == tuple(only)
    assert first.result.p == mcnemar(*only)
    assert first.result.before == one.cells["toy_choice"]["metrics"]["toy_accuracy"]["value"]
    assert first.result.after == other.cells["toy_choice"]["metrics"]["toy_accuracy"]["value"]
    smallest = min(line.result.p for line in found)
    assert min(line.corrected_p for line in found) == min(1.0, 4 * smallest)
    assert all(line.corrected_p >= line.result.p for line in found)
    again = compare(one, one)
    assert all((line.result.p, line.corrected_p, line.result.difference) == (1.0, 1.0, 0.0) for line in again)


def test_a_part_against_the_whole(tmp_path: Path) -> None:
    part = evaluate(tmp_path / "part", "a", limit=20)
    whole = evaluate(tmp_path / "whole", "b")
    line = compare(part, whole)[0]
    assert line.result.n == 20
    assert line.notes == ("20 items are in both (20 and 50 were asked)",)


def other_labels(folder: Path, split: str) -> list[Example]:
    return [Example(e.id, {**e.fields, "label": 1 - e.fields["label"]}) for e in read(folder, split)]


def other_ids(folder: Path, split: str) -> list[Example]:
    return [Example(f"new-{e.id}", e.fields) for e in read(folder, split)]


def fewer(folder: Path, split: str) -> list[Example]:
    return read(folder, split)[1:]


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (other_labels, "example 'test-0' has another gold: 0 and 1"),
        (other_ids, "no example is in both"),
        (fewer, "example 'test-0' is in one of them only, and neither was cut by --limit"),
    ],
)
def test_different_data_are_refused(tmp_path: Path, reader: Any, message: str) -> None:
    one = evaluate(tmp_path / "a", "a", [toy()])
    other = evaluate(tmp_path / "b", "b", [toy(read=reader)])
    with pytest.raises(DataError, match=message):
        compare(one, other)


def test_the_rest_of_a_split_counts_too(tmp_path: Path) -> None:
    """The first ten are the same, what --limit left out is not."""

    def longer(folder: Path, split: str) -> list[Example]:
        return [*read(folder, split)[:10], *other_labels(folder, split)[10:]]

    one = evaluate(tmp_path / "a", "a", [toy()], limit=10)
    with pytest.raises(DataError, match="the splits that they come from differ"):
        compare(one, evaluate(tmp_path / "b", "b", [toy(read=longer)], limit=10))


def test_broken_examples_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    one = evaluate(tmp_path / "a", "a", [toy()], data=tmp_path)
    line = compare(one, evaluate(tmp_path / "b", "b", [toy()], data=tmp_path))[0]
    assert line.result.n == 50
    assert line.notes == ("50 items are in both (51 and 51 were asked)",)


def test_nothing_in_common(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no cell in common: toy_choice, toy_choice-k2 against toy_yes"):
        compare(evaluate(tmp_path / "a", "a", [toy()]), evaluate(tmp_path / "b", "b", [toy("yes")]))
    with pytest.raises(UsageError, match=r"no metrics.json here; `kosmos eval RUN"):
        load_results(tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tmp_path / "a", "a", BENCHMARKS)
    evaluate(tmp_path / "b", "b", BENCHMARKS[:2])
    assert main(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["cell", "metric", "n"]
    assert lines[1].startswith("toy_choice ") and "McNemar, exact" in lines[1]
    assert lines[-1] == "only in A: toy_generate"
    assert main(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["only_in_a"] == ["toy_generate"]
    assert content["compared"][0]["cell"] == "toy_choice"
    assert set(content["compared"][0]) >= {"difference", "interval", "p", "corrected_p", "before", "after", "n", "test"}
    assert main(["eval", "compare", str(tmp_path / "a"), str(tmp_path)]) == 2
    assert "no metrics.json" in capsys.readouterr().err
