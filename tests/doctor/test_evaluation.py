"""`kosmos doctor --eval-data`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.cli.main import main
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.metrics import java_reference


def doctor(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and what was found of the evaluation."""
    code = main(["doctor", "--json", *map(str, words)])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return code, [finding for finding in findings if finding["part"] == "evaluation"]


def test_nothing_is_looked_at_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(capsys) == (0, [])


def test_what_is_there_and_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fixture("boolq", tmp_path)
    write_fixture("vizwiz", tmp_path)
    code, found = doctor(capsys, "--eval-data", tmp_path)
    assert code == 0
    fine = [one["what"] for one in found if one["level"] == "ok"]
    assert fine[0].startswith('boolq: the first prompt: "...') and "; 2 files, " in fine[0]
    assert fine[1].startswith("vizwiz: validation: all 8 pictures are there; ") and "pictures decoded: " in fine[1]
    told = {one["what"]: one["do"] for one in found if one["level"] == "warning"}
    assert "boolq: validation: 5 examples (official, SuperGLUE), but the official split has 3,270" in told
    gated = [what for what in told if what.startswith("not there, and behind a form or licence: story_cloze, ")]
    assert told[gated[0]].startswith("kosmos eval prepare story_cloze,")
    assert not [one for one in found if one["check"] == "java"]  # no captions


def test_a_folder_that_a_failed_download_left_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fixture("boolq", tmp_path)
    (tmp_path / "piqa").mkdir()
    (tmp_path / "cb").mkdir()
    (tmp_path / "cb" / ".CB.zip.part").write_bytes(b"PK")
    code, found = doctor(capsys, "--eval-data", tmp_path)
    assert code == 0
    absent = [one["what"] for one in found if one["what"].startswith("not there: ")]
    assert "piqa" in absent[0] and "cb" in absent[0] and "boolq" not in absent[0]


def test_named_datasets_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fixture("boolq", tmp_path)
    code, found = doctor(capsys, "--eval-data", tmp_path, "--tasks", "boolq,hateful_memes")
    assert code == 3
    (absent,) = [one for one in found if one["level"] == "problem"]
    assert absent["what"] == f"hateful_memes: {tmp_path / 'hateful_memes'} is not there, or empty"
    assert absent["do"] == "behind a form or licence; kosmos eval prepare hateful_memes"
    code, found = doctor(capsys, "--eval-data", tmp_path / "nowhere")
    assert (code, found[0]["what"]) == (3, f"{tmp_path / 'nowhere'}: no such folder")


def test_java(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_fixture("coco_caption", tmp_path)
    monkeypatch.setattr("kosmos.doctor.evaluation.java_command", lambda: None)
    monkeypatch.setattr(java_reference, "java_command", lambda: None)
    code, found = doctor(capsys, "--eval-data", tmp_path, "--tasks", "coco_caption")
    assert code == 0
    java = [(one["level"], one["what"], one["do"]) for one in found if one["check"] == "java"]
    line = "Java is missing: install a Java runtime (Debian: apt-get install default-jre-headless)"
    assert java == [("warning", "meteor will not be run", line), ("warning", "spice will not be run", line)]


def test_tasks_want_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--tasks", "boolq"]) == 2
    assert "say with --eval-data where they are" in capsys.readouterr().err
