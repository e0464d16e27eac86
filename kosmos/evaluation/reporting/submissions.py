"""Submissions: answers of splits whose gold only a server has, in the files that it takes.

VQAv2    one JSON list of {"question_id": 1, "answer": "..."}, all 447,793 questions of test (EvalAI)
VizWiz   one JSON list of {"image": "VizWiz_test_00000000.jpg", "answer": "..."}, all 8,000 (EvalAI)
WebSRC   prediction.json, {id: answer}, and tag_prediction.json, {id: -1}: no element is named (by mail)

What is written is read back and checked before it counts as done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosmos.errors import DataError, UsageError, nearest
from kosmos.evaluation.readers.dataset_files import read_jsonl, read_text

# A message names so many ids.
_NAMED = 3
_NO_ELEMENT = -1


@dataclass(frozen=True)
class Submission:
    """What a server takes for one benchmark.

    files  name of each file -> answers by id -> its content
    check  name of each file -> its content and where it lies -> the ids in it; raises DataError for a wrong form
    how    where the files are handed in
    """

    benchmark: str
    files: Mapping[str, Callable[[Mapping[str, str]], Any]]
    check: Mapping[str, Callable[[Any, Path], list[str]]]
    how: str


def read_predictions(path: Path) -> dict[str, str]:
    """Answers by id from a cell's samples. Raises DataError for samples that could not be read or hold no answer."""
    predictions: dict[str, str] = {}
    for row in read_jsonl(path):
        name = row.filled("id")
        if "broken" in row:
            raise DataError(f"{row.where}: {name} has no answer: {row.text('broken')}")
        predictions[name] = row.text("prediction").strip()
    return predictions


def write_submission(
    submission: Submission, predictions: Mapping[str, str], expected: Iterable[str], folder: Path
) -> list[Path]:
    """Write the server's files into `folder`, read them back and check them. `expected`: the ids of the whole split.

    Raises DataError when answers are missing or too many; nothing is written then.
    """
    expected = list(expected)
    _compare(f"the answers for {submission.benchmark}", list(predictions), expected)
    folder.mkdir(parents=True, exist_ok=True)
    ordered = {name: predictions[name] for name in expected}
    paths = []
    for name, content in submission.files.items():
        path = folder / name
        path.write_text(json.dumps(content(ordered), ensure_ascii=False), encoding="utf-8")
        paths.append(path)
    check_submission(submission, folder, expected)
    return paths


def check_submission(submission: Submission, folder: Path, expected: Sequence[str]) -> None:
    """Raises DataError when a file is missing, has another form than the server takes, or lacks an id."""
    for name, check in submission.check.items():
        path = folder / name
        try:
            content = json.loads(read_text(path))
        except ValueError as error:
            raise DataError(f"{path}: not JSON: {error}") from error
        _compare(str(path), check(content, path), expected)


def get_submission(benchmark: str) -> Submission:
    """Raises UsageError for a benchmark whose answers nobody collects."""
    if benchmark not in SUBMISSIONS:
        known = ", ".join(SUBMISSIONS)
        raise UsageError(f"no server takes '{benchmark}'{nearest(benchmark, SUBMISSIONS)}; there are: {known}")
    return SUBMISSIONS[benchmark]


def _compare(what: str, found: Sequence[str], expected: Sequence[str]) -> None:
    present, wanted = set(found), set(expected)
    if len(present) < len(found):
        raise DataError(f"{what}: {len(found) - len(present)} ids are there twice")
    for names, complaint in ((wanted - present, "are missing"), (present - wanted, "are no questions of the split")):
        if names:
            some = ", ".join(sorted(names)[:_NAMED])
            raise DataError(f"{what}: {len(names)} of {len(wanted)} ids {complaint}, such as {some}")


def _list_of(key: str, kind: type) -> Callable[[Mapping[str, str]], Any]:
    return lambda answers: [{key: kind(name), "answer": answer} for name, answer in answers.items()]


def _check_list_of(key: str, kind: type) -> Callable[[Any, Path], list[str]]:
    def check(content: Any, path: Path) -> list[str]:
        if not isinstance(content, list):
            raise DataError(f"{path}: must be a list")
        for number, entry in enumerate(content):
            if not isinstance(entry, dict) or entry.keys() != {key, "answer"}:
                raise DataError(f"{path}, entry {number}: must have the keys {key} and answer alone, not {entry!r}")
            if type(entry[key]) is not kind or type(entry["answer"]) is not str:
                kinds = f"{key} must be of {kind.__name__}, answer of str"
                raise DataError(f"{path}, entry {number}: {kinds}, not {entry!r}")
        return [str(entry[key]) for entry in content]

    return check


def _check_object_of(kind: type) -> Callable[[Any, Path], list[str]]:
    def check(content: Any, path: Path) -> list[str]:
        if not isinstance(content, dict):
            raise DataError(f"{path}: must be an object of ids and values")
        for name, value in content.items():
            if type(value) is not kind:
                raise DataError(f"{path}: the value of '{name}' must be of {kind.__name__}, not {value!r}")
        return list(content)

    return check


_VQAV2_FILE = "v2_OpenEnded_mscoco_test2015_kosmos_results.json"
_VIZWIZ_FILE = "vizwiz_test_results.json"
SUBMISSIONS: dict[str, Submission] = {
    "vqav2_test": Submission(
        "vqav2_test",
        {_VQAV2_FILE: _list_of("question_id", int)},
        {_VQAV2_FILE: _check_list_of("question_id", int)},
        "Hand the file in at the VQA challenge on https://eval.ai, phase test-dev.",
    ),
    "vizwiz_test": Submission(
        "vizwiz_test",
        {_VIZWIZ_FILE: _list_of("image", str)},
        {_VIZWIZ_FILE: _check_list_of("image", str)},
        "Hand the file in at the VizWiz VQA challenge on https://eval.ai, phase test-dev.",
    ),
    "websrc_test": Submission(
        "websrc_test",
        {"prediction.json": dict, "tag_prediction.json": lambda answers: dict.fromkeys(answers, _NO_ELEMENT)},
        {"prediction.json": _check_object_of(str), "tag_prediction.json": _check_object_of(int)},
        "Mail both files, zipped, to WebSRC's authors (https://x-lance.github.io/WebSRC/ says to whom). They ask for "
        "three runs with different seeds, a folder each.",
    ),
}
