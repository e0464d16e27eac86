"""A file of answers that was left at any byte can be gone on with, and only as what it was."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from kosmos.errors import DataError, KosmosError, StorageError, UsageError
from kosmos.inference.answer_file import AnswerFile, answer_line
from kosmos.inference.requests import key_of

ABOUT = {"requests": "a" * 64, "weights": "b" * 64, "options": {"temperature": 0.0, "stop": (".",)}}
KEYS = [key_of(number) for number in range(6)]


def opened(path: Path, resume: bool = False, **changed: Any) -> AnswerFile:
    return AnswerFile(path, {**ABOUT, **changed}, set(KEYS), resume=resume)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_answers_are_there_after_every_batch(tmp_path: Path) -> None:
    path = tmp_path / "new" / "answers.jsonl"
    with opened(path) as file:
        file.write([{"id": 3, "text": "é 猫"}, {"id": 1, "text": "\ud800"}])
        assert lines(path) == [{"id": 3, "text": "é 猫"}, {"id": 1, "text": "\ud800"}]
        assert "é 猫" in path.read_text(encoding="utf-8")
        file.write([{"id": 2, "error": "no"}])
        assert file.answered == {"3": True, "1": True, "2": False}
    assert len(lines(path)) == 3
    assert json.loads((tmp_path / "new" / "answers.jsonl.meta.json").read_text())["requests"] == "a" * 64


def test_any_cut_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with opened(path) as file:
        file.write([{"id": number, "text": "a"} for number in range(3)])
    whole = path.read_bytes()
    size = len(whole) // 3
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with opened(path, resume=True) as file:
            assert list(file.answered) == KEYS[: cut // size]
            file.write([{"id": number, "text": "a"} for number in range(cut // size, 3)])
        assert path.read_bytes() == whole


def test_resume_begins_what_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with opened(path, resume=True) as file:
        assert file.answered == {}
    with pytest.raises(UsageError, match="is there already; resume it"):
        opened(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"requests": "c" * 64}, "cannot be resumed: the requests are others now. Give what it was begun with"),
        ({"weights": "c" * 64}, "the weights are others now"),
        (
            {"options": {"temperature": 0.5, "stop": ("!",)}},
            r'stop was \["."\] and is \["!"\]; temperature was 0.0 and is 0.5.',
        ),
        ({"options": {"temperature": 0.0, "stop": (".",), "names": ["x" * 100]}}, "the names are others now"),
        ({"options": {"command": "score", "by": "sum"}}, 'resumed: command was null and is "score". Give'),
        ({"options": {"temperature": 0.0}}, r'stop was \["."\] and is null'),
    ],
)
def test_something_else_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = tmp_path / "answers.jsonl"
    with opened(path) as file:
        file.write([{"id": 1}])
    with pytest.raises(UsageError, match=message):
        opened(path, resume=True, **changed)
    assert lines(path) == [{"id": 1}]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ('{"id": 1}\nnot JSON\n{"id": 2}\n', StorageError, "answers.jsonl:2: damaged; remove this line"),
        ('{"id": 1}\n{"text": "a"}\n', StorageError, "answers.jsonl:2: damaged"),
        ('{"id": 1}\n{"id": "x"}\n', DataError, 'answers.jsonl:2: the id "x" is none of the requests'),
    ],
)
def test_lines_that_are_no_answers(tmp_path: Path, content: str, kind: type[KosmosError], message: str) -> None:
    path = tmp_path / "answers.jsonl"
    opened(path).__exit__(None, None, None)
    path.write_text(content)
    with pytest.raises(kind, match=message):
        opened(path, resume=True)
    assert path.read_text() == content


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("precious")
    with pytest.raises(UsageError, match=r"answers.jsonl.meta.json, which says what it was begun with, is not beside"):
        opened(path, resume=True)
    (tmp_path / "answers.jsonl.meta.json").write_text("{")
    with pytest.raises(StorageError, match=r"meta.json: cannot be read"):
        opened(path, resume=True)
    assert path.read_text() == "precious"


def test_two_writers_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with opened(path) as file:
        with pytest.raises(UsageError, match="another process is writing it"):
            opened(path, resume=True)
        file.write([{"id": 1}])
    with opened(path, resume=True) as file:
        assert file.answered == {"1": True}


def test_the_finished_file_has_the_order_of_the_requests(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with opened(path) as file:
        file.write([{"id": 3}, {"id": 1, "error": "no"}])
        file.write([{"id": 0}, {"id": 1, "text": "at last"}])
        file.arrange(KEYS)
    assert lines(path) == [{"id": 0}, {"id": 1, "text": "at last"}, {"id": 3}]
    before = os.stat(path).st_ino
    with opened(path, resume=True) as file:
        assert file.answered == {"0": True, "1": True, "3": True}
        file.arrange(KEYS)
    assert os.stat(path).st_ino == before  # nothing to do


def test_a_full_disk_leaves_whole_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "answers.jsonl"
    with opened(path) as file:
        file.write([{"id": 1}])

        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="answers.jsonl: cannot write: No space left on device"):
            file.write([{"id": 2}, {"id": 3}])
        assert file.answered == {"1": True}
    assert lines(path) == [{"id": 1}]


def test_an_answer_is_one_line() -> None:
    assert answer_line({"id": [1, None], "text": "a\né"}) == '{"id": [1, null], "text": "a\\né"}\n'.encode()
