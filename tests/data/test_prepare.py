from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import zstandard

from kosmos.config import CorpusConfig
from kosmos.data import prepare as module
from kosmos.data.prepare import PROGRESS, PrepareReport, prepare
from kosmos.data.readers import open_reader, sequential
from kosmos.document import Document, Text
from kosmos.errors import DataError, StorageError, UsageError
from kosmos.storage import check_manifest

Write = Callable[..., Path]
SUBSETS = ["Pile-CC", "Github", "ArXiv", "PubMed Central"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSMOS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    """Two files of 40 lines; of every four, one is not code and not a paper."""
    folder = tmp_path / "pile"
    folder.mkdir()
    for file in ("00", "01"):
        lines = [
            json.dumps({"text": f"{file} é {number}", "meta": {"pile_set_name": SUBSETS[number % 4]}}).encode() + b"\n"
            for number in range(40)
        ]
        (folder / f"{file}.jsonl.zst").write_bytes(zstandard.compress(b"".join(lines)))
    return folder


def texts(report: PrepareReport) -> list[str]:
    reader = open_reader(CorpusConfig(report.reader, report.path), 0)
    found = [reader.read(shard, record, 0) for shard in reader.shards() for record in range(reader.num_records(shard))]
    return [document.text for document in found if isinstance(document, Document)]


def test_the_pile_without_what_the_paper_drops(pile: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exclude = {"GitHub", "ArXiv", "StackExchange", "PubMed Central"}
    report = prepare("jsonl", str(pile), out, shard_bytes=400, exclude=exclude)
    assert (report.reader, report.path, report.rewritten) == ("jsonl", str(out), True)
    assert (report.inputs, report.records, report.bad) == (2, 20, {})
    assert report.excluded == {"GitHub": 20, "ArXiv": 20, "StackExchange": 0, "PubMed Central": 20}
    assert texts(report) == [f"{file} é {number}" for file in ("00", "01") for number in range(0, 40, 4)]
    names = sorted(path.name for path in out.iterdir() if path.suffix == ".jsonl")
    assert names == [f"{file}-0000{part}.jsonl" for file in ("00", "01") for part in (0, 1)]
    assert report.shards == 4 and report.bytes == sum((out / name).stat().st_size for name in names)
    assert all((out / f"{name}.kosmos-index").is_file() for name in names)
    assert json.loads((out / names[0]).read_text().splitlines()[0])["meta"] == {"pile_set_name": "Pile-CC"}
    check_manifest(out)


def test_it_goes_on_after_the_files_that_are_done(pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    prepare("jsonl", str(pile), whole)
    real, opened = sequential.records_of_file, []

    def interrupted(reader: str, file: str, field: str) -> object:
        opened.append(Path(file).name)
        for number, record in enumerate(real(reader, file, field)):
            if file.endswith("01.jsonl.zst") and number == 10 and len(opened) == 2:
                raise KeyboardInterrupt
            yield record

    monkeypatch.setattr(module, "records_of_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare("jsonl", str(pile), out)
    assert sorted(path.name for path in out.glob("*.jsonl")) == ["00-00000.jsonl"]
    assert not list(out.glob(".partial-*")) and not (out / "MANIFEST.sha256").exists()
    (out / ".partial-left").mkdir()  # as a killed process leaves it
    report = prepare("jsonl", str(pile), out)
    assert opened == ["00.jsonl.zst", "01.jsonl.zst", "01.jsonl.zst"]
    assert (report.inputs_done_before, report.records) == (1, 80)
    for name in ("00-00000.jsonl", "01-00000.jsonl", "MANIFEST.sha256"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert not list(out.glob(".partial-*"))


def test_a_changed_input_and_a_lost_shard_are_made_again(pile: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare("jsonl", str(pile), out, shard_bytes=400)
    (pile / "00.jsonl.zst").write_bytes(zstandard.compress(b'{"text": "new"}\n'))
    (out / "01-00001.jsonl").unlink()
    report = prepare("jsonl", str(pile), out, shard_bytes=400)
    assert report.inputs_done_before == 0 and report.records == 41
    assert texts(report)[:2] == ["new", "01 é 0"]
    check_manifest(out)
    assert prepare("jsonl", str(pile), out, shard_bytes=400).inputs_done_before == 2


def test_the_folder_belongs_to_one_set_of_settings_and_one_process(pile: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare("jsonl", str(pile), out)
    with pytest.raises(UsageError, match="begun with another shard_bytes: choose another folder"):
        prepare("jsonl", str(pile), out, shard_bytes=5)
    settings = json.loads((out / PROGRESS).read_text())["settings"]
    with module._Folder(out, settings):
        with pytest.raises(UsageError, match="another `kosmos data prepare` is writing there"):
            prepare("jsonl", str(pile), out)
    (out / PROGRESS).write_text("{")
    with pytest.raises(StorageError, match="damaged; delete"):
        prepare("jsonl", str(pile), out)
    (out / PROGRESS).unlink()
    with pytest.raises(UsageError, match="holds other .jsonl files"):
        prepare("jsonl", str(pile), out)


def test_bad_records_are_counted_and_named(tmp_path: Path) -> None:
    lines = [b'{"text": "good"}\n', b'{"text": \n', b"\xff{}\n", b'{"text": ""}\n'] * 10
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(lines))[:-8])
    report = prepare("jsonl", str(path), tmp_path / "out")
    assert report.bad == {"bad json": 10, "not utf-8": 10, "empty text": 10, "compressed file cut short": 1}
    assert len(report.named) == 20 and report.named[0].where == f"{path} byte 17"
    assert prepare("jsonl", str(path), tmp_path / "out").named == report.named
    path.write_bytes(gzip.compress(b"\xff{}\n"))
    with pytest.raises(DataError, match="nothing can be used of 1 files: {'not utf-8': 1}"):
        prepare("jsonl", str(path), tmp_path / "other")


def test_instructions_text_and_fields(tmp_path: Path) -> None:
    asked = [{"instruction": "Add.", "input": "1 2", "output": "3"}, {"instruction": "Say.", "output": "a"}]
    with zipfile.ZipFile(tmp_path / "i.jsonl.zip", "w") as archive:
        archive.writestr("i.jsonl", "".join(json.dumps(item) + "\n" for item in asked))
    report = prepare("instructions", str(tmp_path / "i.jsonl.zip"), tmp_path / "i")
    reader = open_reader(CorpusConfig(report.reader, report.path), 0)
    [shard] = reader.shards()
    assert reader.read(shard, 0, 0) == Document(Text("Add. 1 2", supervised=False), Text(" 3"))
    assert reader.read(shard, 1, 0) == Document(Text("Say.", supervised=False), Text(" a"))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"content": "x\\ny", "id": "\\ud800"}\n'))
    made = prepare("jsonl", str(tmp_path / "c.jsonl.gz"), tmp_path / "c", field="content")
    assert texts(made) == ["x\ny"]
    for name in ("t/a.txt", "u/a.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"in {name}\n\nmore")
    report = prepare("text", f"{tmp_path}/[tu]/*.txt", tmp_path / "texts")
    assert texts(report) == ["in t/a.txt\n\nmore", "in u/a.txt\n\nmore"]
    assert texts(prepare("text_blocks", str(tmp_path / "t"), tmp_path / "blocks")) == ["in t/a.txt", "more"]


def test_what_is_addressable_only_gets_its_index(write_jsonl: Write, write_tar: Write, tmp_path: Path) -> None:
    lines = write_jsonl("a.jsonl", [{"text": "a"}, {"text": "b"}])
    report = prepare("jsonl", str(lines), tmp_path / "out")
    assert (report.rewritten, report.path, report.records) == (False, str(lines), 2)
    assert not (tmp_path / "out").exists() and (tmp_path / "a.jsonl.kosmos-index").is_file()
    pairs = write_tar("a.tar", [("0.png", b"x"), ("0.txt", b"y")])
    assert prepare("pairs_tar", str(pairs)).records == 1
    assert (tmp_path / "a.tar.kosmos-index").is_file()
    (tmp_path / "t.txt").write_text("one\n\ntwo")
    assert prepare("text_blocks", str(tmp_path / "t.txt")).records == 2
    assert (tmp_path / "t.txt.kosmos-index").is_file()
    fsspec.filesystem("memory").pipe_file("/prepared/a.jsonl", lines.read_bytes())
    assert prepare("jsonl", "memory://prepared").records == 2
    assert fsspec.filesystem("memory").exists("/prepared/a.jsonl.kosmos-index")


def test_what_needs_a_folder_or_a_fetch_says_so(pile: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be rewritten: name a folder OUT"):
        prepare("jsonl", str(pile))
    with pytest.raises(UsageError, match=r"run `kosmos data fetch --reader laion x\.parquet OUT`"):
        prepare("laion", "x.parquet", tmp_path)


def test_a_full_disk_leaves_what_was_finished(pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, real = tmp_path / "out", module._write_shard

    def full(path: Path, lines: object) -> object:
        if path.name.startswith("01"):
            raise OSError(28, "No space left on device")
        return real(path, lines)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_write_shard", full)
    with pytest.raises(StorageError, match="cannot write: No space left on device; free some space and start it again"):
        prepare("jsonl", str(pile), out)
    assert sorted(path.name for path in out.iterdir()) == [
        "00-00000.jsonl",
        "00-00000.jsonl.kosmos-index",
        PROGRESS,
    ]
