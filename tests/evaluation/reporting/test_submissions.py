"""Files for the servers: complete, in their form, and refused otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.fixtures.files import write_jsonl
from kosmos.evaluation.reporting.submissions import (
    SUBMISSIONS,
    check_submission,
    get_submission,
    read_predictions,
    write_submission,
)

IDS = {
    "vqav2_test": ["262144000", "262144001", "262144002"],
    "vizwiz_test": ["VizWiz_test_00000000.jpg", "VizWiz_test_00000001.jpg"],
    "websrc_test": ["ho070000100000", "ho070000100001"],
}


def answers(name: str) -> dict[str, str]:
    return {one: f"answer {one[-1]} é" for one in IDS[name]}


def test_vqav2(tmp_path: Path) -> None:
    (path,) = write_submission(get_submission("vqav2_test"), answers("vqav2_test"), IDS["vqav2_test"], tmp_path)
    assert path.name == "v2_OpenEnded_mscoco_test2015_kosmos_results.json"
    assert json.loads(path.read_text("utf-8"))[1] == {"question_id": 262144001, "answer": "answer 1 é"}


def test_vizwiz(tmp_path: Path) -> None:
    (path,) = write_submission(get_submission("vizwiz_test"), answers("vizwiz_test"), IDS["vizwiz_test"], tmp_path)
    assert json.loads(path.read_text("utf-8"))[0] == {"image": "VizWiz_test_00000000.jpg", "answer": "answer g é"}


def test_websrc(tmp_path: Path) -> None:
    paths = write_submission(get_submission("websrc_test"), answers("websrc_test"), IDS["websrc_test"], tmp_path)
    said, tags = (json.loads(path.read_text("utf-8")) for path in paths)
    assert said == answers("websrc_test")
    assert tags == {"ho070000100000": -1, "ho070000100001": -1}


def test_all_questions_of_vqav2(tmp_path: Path) -> None:
    """447,793 ids, as the server wants them."""
    ids = [str(1000 * (number // 5 + 1) + number % 5) for number in range(447_793)]
    predictions = {one: "yes" for one in reversed(ids)}
    (path,) = write_submission(get_submission("vqav2_test"), predictions, ids, tmp_path)
    written = path.read_text()
    assert written.count("question_id") == 447_793
    assert written.startswith('[{"question_id": 1000, "answer": "yes"}, {"question_id": 1001, ')
    assert written.endswith('{"question_id": 89559002, "answer": "yes"}]')


def test_all_questions_of_vizwiz_and_websrc(tmp_path: Path) -> None:
    """8,000 pictures, and 40,000 questions of WebSRC's two files, in another order than the split's."""
    sizes = {"vizwiz_test": [f"VizWiz_test_{number:08d}.jpg" for number in range(8000)]}
    sizes["websrc_test"] = [f"ho{number:012d}" for number in range(40_000)]
    for name, ids in sizes.items():
        submission = get_submission(name)
        paths = write_submission(submission, dict.fromkeys(reversed(ids), "no"), ids, tmp_path / name)
        check_submission(submission, tmp_path / name, ids)
        for path in paths:
            content = json.loads(path.read_text("utf-8"))
            assert len(content) == len(ids)
            assert [entry["image"] for entry in content] == ids if isinstance(content, list) else list(content) == ids
        with pytest.raises(DataError, match="1 of .* ids are missing"):
            check_submission(submission, tmp_path / name, [*ids, "another"])


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_incomplete_answers_are_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    some = answers(name)
    some.pop(IDS[name][0])
    out = tmp_path / "out"
    with pytest.raises(DataError, match=rf"{name}: 1 of {len(IDS[name])} ids are missing, such as {IDS[name][0]}"):
        write_submission(get_submission(name), some, IDS[name], out)
    with pytest.raises(DataError, match="1 of .* are no questions of the split, such as 77"):
        write_submission(get_submission(name), {**answers(name), "77": "a"}, IDS[name], out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vqav2_test", {}, "must be a list"),
        ("vqav2_test", [{"question_id": "1", "answer": "a"}], "entry 0: question_id must be of int"),
        ("vqav2_test", [{"question_id": 1, "answer": None}], "entry 0: question_id must be of int, answer of str"),
        ("vqav2_test", [{"question_id": True, "answer": "a"}], "entry 0: question_id must be of int"),
        ("vqav2_test", [{"question_id": 1}], "must have the keys question_id and answer alone"),
        ("vqav2_test", [{"question_id": 1, "answer": "a", "score": 1}], "must have the keys question_id and answer"),
        ("vqav2_test", [{"question_id": 262144000, "answer": "a"}] * 2, "1 ids are there twice"),
        ("vqav2_test", [{"question_id": 262144000, "answer": "a"}], "2 of 3 ids are missing"),
        ("vizwiz_test", [{"image": 1, "answer": "a"}], "entry 0: image must be of str"),
        ("vizwiz_test", [{"question_id": 1, "answer": "a"}], "must have the keys image and answer alone"),
        ("websrc_test", [], "must be an object"),
        ("websrc_test", {"ho070000100000": 1}, "the value of 'ho070000100000' must be of str"),
        ("websrc_test", {"ho070000100000": "a"}, "1 of 2 ids are missing"),
    ],
)
def test_other_forms_are_refused(name: str, content: object, message: str, tmp_path: Path) -> None:
    submission = get_submission(name)
    path = tmp_path / next(iter(submission.files))
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        check_submission(submission, tmp_path, IDS[name])


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    submission = get_submission("vizwiz_test")
    with pytest.raises(DataError, match="cannot read it"):
        check_submission(submission, tmp_path, [])
    (tmp_path / "vizwiz_test_results.json").write_text("[")
    with pytest.raises(DataError, match="not JSON"):
        check_submission(submission, tmp_path, [])


def test_predictions_come_from_samples(tmp_path: Path) -> None:
    path = tmp_path / "vizwiz_test.jsonl"
    write_jsonl(path, [{"id": "a", "prediction": " two words "}, {"id": "b", "prediction": ""}])
    assert read_predictions(path) == {"a": "two words", "b": ""}
    write_jsonl(path, [{"id": "a", "prediction": ""}, {"id": "b", "broken": "b.jpg: damaged"}])
    with pytest.raises(DataError, match=r"line 2: b has no answer: b\.jpg: damaged"):
        read_predictions(path)


def test_other_benchmarks_have_no_server() -> None:
    with pytest.raises(
        UsageError, match=r"no server takes 'vqa2_test' \(did you mean 'vqav2_test'\?\); there are: vqa"
    ):
        get_submission("vqa2_test")
