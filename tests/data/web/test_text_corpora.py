"""Near-duplicates and evaluation data in plain-text corpora."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

pytest.importorskip("datatrove")

from kosmos.data.web.executors import ExecutorSettings
from kosmos.data.web.settings import DuplicateRules
from kosmos.data.web.text_corpora import decontaminate, dedup
from kosmos.errors import DataError
from tests.data.web.site import prose


def line(text: str, **fields: object) -> bytes:
    return json.dumps({"id": 7, "text": text, **fields}, separators=(", ", ":")).encode()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    first = [line(prose(seed)) for seed in range(20)]
    second = [line(prose(seed).replace("lamp", "lantern", 1), meta={"ä": 1}) for seed in range(15, 25)]
    bad = [b"{oops", b'{"no": "text"}', b'{"text": " "}', b'{"text": "\xff"}', b"", b"[1]"]
    (folder / "a.jsonl").write_bytes(b"\n".join(first + bad) + b"\n")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b"\r\n".join(second)))
    return folder


def test_the_first_of_near_duplicates_stays_byte_for_byte(corpus: Path, tmp_path: Path) -> None:
    report = dedup(str(corpus), tmp_path / "out")
    assert report is not None
    assert (report.kind, report.read, report.kept) == ("lines", 35, 25)
    assert report.removed_by("near-duplicate") == 5
    reasons = ("bad json", "no text field", "empty text", "not utf-8")
    assert [report.removed_by(rule) for rule in reasons] == [1, 2, 1, 1]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jsonl")) == ["a.jsonl", "b.jsonl"]
    assert (tmp_path / "out" / "a.jsonl").read_bytes() == b"".join(line(prose(seed)) + b"\n" for seed in range(20))
    kept = (tmp_path / "out" / "b.jsonl").read_bytes().splitlines()
    assert kept == [line(prose(seed).replace("lamp", "lantern", 1), meta={"ä": 1}) for seed in range(20, 25)]


def test_a_stricter_similarity_keeps_more(corpus: Path, tmp_path: Path) -> None:
    report = dedup(str(corpus), tmp_path / "out", DuplicateRules(similarity=1.0))
    assert report is not None and report.kept > 25


def test_workers_and_restarts_change_nothing(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("kosmos.data.web.duplicate_steps.later_members", fail)
        with pytest.raises(OSError, match="No space"):
            dedup(str(corpus), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.jsonl"))
    report = dedup(str(corpus), tmp_path / "out", executor=ExecutorSettings(workers=2))
    assert report is not None and report.kept == 25
    straight = dedup(str(corpus), tmp_path / "straight")
    assert straight is not None and straight.removed == report.removed
    for name in ("a.jsonl", "b.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def test_documents_that_overlap_evaluation_data_go(corpus: Path, tmp_path: Path) -> None:
    words = prose(3).split()
    items = tmp_path / "items.json"
    items.write_text(json.dumps([{"context": " ".join(words[10:30]), "label": "yes"}]))
    report = decontaminate(str(corpus), tmp_path / "out", (str(items),))
    assert report is not None
    assert (report.read, report.kept, report.removed_by("overlaps evaluation data")) == (35, 29, 1)
    assert line(prose(3)) not in (tmp_path / "out" / "a.jsonl").read_bytes()
    assert line(prose(4)) in (tmp_path / "out" / "a.jsonl").read_bytes()


def test_a_file_cut_short_gives_its_whole_lines_and_is_counted(corpus: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b"\n".join(line(prose(seed)) for seed in range(50)))[:-500])
    report = dedup(str(cut), tmp_path / "out")
    assert report is not None and report.other == {"files cut short or damaged": 1}
    assert 0 < report.kept < 50
    with pytest.raises(DataError, match="8 words or more"):
        short = tmp_path / "short.txt"
        short.write_text("yes\nno\n")
        decontaminate(str(cut), tmp_path / "out2", (str(short),))


def test_other_files_than_json_lines_are_refused(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(prose(1))
    for run in (lambda out: dedup(str(book), out), lambda out: decontaminate(str(tmp_path / "*"), out, (str(book),))):
        with pytest.raises(DataError, match=r"book\.txt: not JSON lines; run `kosmos data prepare .* OUT` first"):
            run(tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_mistyped_evaluation_file_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one two three"}\n')
    with pytest.raises(DataError, match=r"nope\.json: cannot read the evaluation data"):
        decontaminate(str(tmp_path / "a.jsonl"), tmp_path / "out", (str(tmp_path / "nope.json"),))
    assert not (tmp_path / "out").exists()
