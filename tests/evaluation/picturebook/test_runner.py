from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from kosmos.document import Document
from kosmos.errors import DataError, UsageError
from kosmos.evaluation.picturebook.runner import describe, evaluate, load_result
from kosmos.evaluation.statistics.intervals import wilson
from kosmos.example import Example
from tests.evaluation.scripted import (
    LEVELS,
    ScriptedEngine,
    ScriptedGeneration,
    flat,
    level_of,
    puzzle_task,
    shade_examples,
    shade_task,
)


def half_right() -> ScriptedEngine:
    return ScriptedEngine(reply=lambda document: {10: "black", 60: "dark"}.get(level_of(document), "dark"))


def test_results_samples_and_summary(tmp_path: Path) -> None:
    results = evaluate(half_right(), [shade_task()], tmp_path, quiet=True)
    result = results["shade"]
    assert (result.n, result.score) == (8, 0.5)
    assert result.interval == wilson(0.5, 8)
    assert result.predictions[:3] == ("black", "dark", "dark")
    sample = json.loads((tmp_path / "shade.jsonl").read_text().splitlines()[2])
    prompt = shade_task().prompt(shade_examples(3)[2])
    assert sample == {
        "task": "shade",
        "id": "shade-2",
        "cluster": "",
        "prompt": "<image>The shade is",
        "prompt_sha256": [prompt.sha256],
        "image_sha256": [[flat(200).sha256]],
        "prediction": "dark",
        "normalized": "dark",
        "gold": [" light"],
        "value": 0.0,
        "finish_reason": "end",
    }
    summary = json.loads((tmp_path / "shade.json").read_text())
    assert (summary["n"], summary["n_expected"], summary["score"], summary["metric"]) == (8, 8, 0.5, "exact_match")
    assert summary["interval_method"] == "wilson"
    assert describe(result) == "shade                     50.0 %  [21.5, 78.5]  n = 8"


def test_scored_candidates_are_recorded(tmp_path: Path) -> None:
    engine = ScriptedEngine(log_prob=lambda document, text: -float(len(text)) / 3)
    evaluate(engine, [shade_task(mode="choice"), puzzle_task()], tmp_path, quiet=True)
    sample = json.loads((tmp_path / "shade.jsonl").read_text().splitlines()[0])
    assert sample["candidates"] == [f" {name}" for name in LEVELS.values()]
    assert sample["scores"] == [-2.0, -1.666667, -2.0, -2.0]
    puzzle = json.loads((tmp_path / "puzzle.jsonl").read_text().splitlines()[4])
    assert puzzle["candidates"] == ["<image><image> Is it correct?"] * 3
    assert (puzzle["gold"], puzzle["ties"]) == (["1"], 3)
    assert load_result(tmp_path, "puzzle").num_ties == 6


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        evaluate(half_right(), [shade_task(), puzzle_task()], tmp_path / name, quiet=True)
    for file in ("shade.json", "shade.jsonl", "puzzle.json", "puzzle.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_finished_tasks_are_not_asked_again(tmp_path: Path) -> None:
    first = evaluate(half_right(), [shade_task()], tmp_path, model_key="weights", quiet=True)
    engine = ScriptedEngine()
    again = evaluate(engine, [shade_task(), puzzle_task()], tmp_path, model_key="weights", quiet=True)
    assert again["shade"] == first["shade"]
    assert {len(document.images) for document in engine.asked} == {2}  # puzzles only


@pytest.mark.parametrize("change", ["weights", "pictures", "answers", "settings", "limit"])
def test_whatever_a_result_depends_on_makes_it_be_asked_anew(tmp_path: Path, change: str) -> None:
    evaluate(half_right(), [shade_task()], tmp_path, model_key="weights", quiet=True)
    task = {
        "pictures": shade_task(examples=lambda: shade_examples(8, offset=1)),
        "answers": shade_task(examples=lambda: [Example(e.id, {"answer": "x"}, e.images) for e in shade_examples(8)]),
        "settings": shade_task(max_new_tokens=3),
    }.get(change, shade_task())
    engine = ScriptedEngine()
    limit = 5 if change == "limit" else None
    result = evaluate(
        engine, [task], tmp_path, model_key="other" if change == "weights" else "weights", limit=limit, quiet=True
    )
    assert engine.asked
    assert result["shade"].score == 0.0


def test_an_interrupted_run_keeps_what_was_finished(tmp_path: Path) -> None:
    class Dying(ScriptedEngine):
        def generate(self, documents: list[Document], max_new_tokens: int) -> Sequence[ScriptedGeneration]:
            if any(document.text == "Then" for document in documents):
                raise KeyboardInterrupt
            return super().generate(documents, max_new_tokens)

    second = shade_task(
        name="second", template=lambda e: Document(*e.images, "Then").unsupervised() + f" {e.fields['answer']}"
    )
    with pytest.raises(KeyboardInterrupt):
        evaluate(Dying(), [shade_task(), second], tmp_path, quiet=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["shade.json", "shade.jsonl", "timing.json"]
    engine = half_right()
    results = evaluate(engine, [shade_task(), second], tmp_path, quiet=True)
    assert list(results) == ["shade", "second"]
    assert {document.text for document in engine.asked} == {"Then"}


def test_blank_pictures_are_what_the_model_gets(tmp_path: Path) -> None:
    engine = ScriptedEngine(reply=lambda document: "black" if level_of(document) == 255 else "?")
    assert evaluate(engine, [shade_task()], tmp_path, blank=True, quiet=True)["shade"].score == 0.25


def test_a_limit_takes_the_first_examples(tmp_path: Path) -> None:
    result = evaluate(half_right(), [shade_task()], tmp_path, limit=3, quiet=True)["shade"]
    assert (result.n, result.values) == (3, (1.0, 1.0, 0.0))
    assert json.loads((tmp_path / "shade.json").read_text())["n_expected"] == 8


def test_clusters_widen_the_interval(tmp_path: Path) -> None:
    clustered = [Example(e.id, e.fields, e.images, cluster=f"c{i // 4}") for i, e in enumerate(shade_examples(8))]
    result = evaluate(half_right(), [shade_task(examples=lambda: clustered)], tmp_path, quiet=True)["shade"]
    assert result.interval.method == "wilson_clustered"


def test_a_constant_answer_is_flagged(tmp_path: Path) -> None:
    engine = ScriptedEngine(reply=lambda document: "dark")
    assert evaluate(engine, [shade_task()], tmp_path, quiet=True)["shade"].constant_answer is True
    assert evaluate(half_right(), [shade_task()], tmp_path / "b", quiet=True)["shade"].constant_answer is False


def test_bad_suites_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two tasks are called 'shade'"):
        evaluate(half_right(), [shade_task(), shade_task()], tmp_path)
    with pytest.raises(DataError, match="test set is empty"):
        evaluate(half_right(), [shade_task(examples=lambda: [])], tmp_path)
    with pytest.raises(DataError, match="two examples have the id 'shade-0'"):
        evaluate(half_right(), [shade_task(examples=lambda: shade_examples(1) * 2)], tmp_path)
    with pytest.raises(UsageError, match="limit must be at least 1"):
        evaluate(half_right(), [shade_task()], tmp_path, limit=0)
    assert not list(tmp_path.iterdir())


def test_damaged_result_files_are_named(tmp_path: Path) -> None:
    evaluate(half_right(), [shade_task()], tmp_path, quiet=True)
    lines = (tmp_path / "shade.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "shade.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="shade.jsonl: 7 samples, not 8"):
        load_result(tmp_path, "shade")
    (tmp_path / "shade.json").write_text("{}")
    with pytest.raises(DataError, match="not a result file of this version"):
        load_result(tmp_path, "shade")
    (tmp_path / "shade.json").write_text("{")
    with pytest.raises(DataError, match="shade.json: cannot read"):
        load_result(tmp_path, "shade")


def test_progress_is_one_plain_line_per_task_without_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(half_right(), [shade_task(), puzzle_task()], tmp_path)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("Evaluation 1/2  shade                     50.0 %  [21.5, 78.5]  n = 8  (")
    assert first.endswith("s left)")
    assert second == "Evaluation 2/2  puzzle                    33.3 %  [9.7, 70.0]  n = 6"
