from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.evaluation.benchmark import Benchmark
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.obtaining.downloads import DOWNLOADS, downloads_of
from kosmos.evaluation.obtaining.inventory import Found, take_inventory
from kosmos.evaluation.tasks.table1 import BENCHMARKS, TABLE1, get_benchmark


def look(name: str, folder: Path) -> dict[str, list[Found]]:
    """Findings by level."""
    made: dict[str, list[Found]] = {"ok": [], "warning": [], "problem": []}
    for found in take_inventory(get_benchmark(name), folder):
        made[found.level].append(found)
    return made


@pytest.mark.parametrize("benchmark", TABLE1, ids=lambda benchmark: benchmark.name)
def test_small_files_are_whole_but_few(benchmark: Benchmark, tmp_path: Path) -> None:
    found = look(benchmark.name, write_fixture(benchmark.name, tmp_path))
    assert found["problem"] == []
    assert found["ok"][-1].what.startswith('the first prompt: "...')
    assert "but the official split has" in found["warning"][0].what


def test_as_many_as_there_should_be_is_fine(tmp_path: Path) -> None:
    folder = write_fixture("cb", tmp_path)
    benchmark = replace(get_benchmark("cb"), num_examples={"train": 5, "validation": 5})
    levels = [found.level for found in take_inventory(benchmark, folder)]
    assert levels == ["ok", "ok", "ok"]


def test_what_is_missing(tmp_path: Path) -> None:
    (nothing,) = look("boolq", tmp_path / "boolq")["problem"]
    assert nothing == Found("problem", f"{tmp_path / 'boolq'} is not there, or empty", "kosmos eval prepare boolq")
    assert look("story_cloze", tmp_path)["problem"][0].do == "kosmos eval prepare story_cloze"
    folder = write_fixture("boolq", tmp_path)
    (folder / "train.jsonl").rename(folder / "training.jsonl")
    found = look("boolq", folder)
    assert found["problem"] == []
    assert found["warning"][1].what.startswith("no demonstrations, so 0 shots only: ")
    (folder / "val.jsonl").write_text('{"passage": "x", "question": "y", "idx": 1}\n')
    (broken,) = look("boolq", folder)["problem"]
    assert "val.jsonl, line 1: no 'label'" in broken.what


def test_missing_and_broken_pictures(tmp_path: Path) -> None:
    folder = write_fixture("vizwiz", tmp_path)
    first, *_ = sorted((folder / "val").glob("*.jpg"))
    first.write_bytes(b"no picture")
    assert "the first prompt cannot be made" in look("vizwiz", folder)["problem"][0].what
    first.unlink()
    (missing,) = look("vizwiz", folder)["problem"]
    assert missing.what == f"validation: 1 of 8 pictures are missing, the first is {first}"


def test_known_checksums(tmp_path: Path) -> None:
    folder = write_fixture("relative_size", tmp_path)
    warned = [found.what for found in look("relative_size", folder)["warning"]]
    assert "sizePairsFull.txt is not the known file, byte for byte" in warned


def test_downloads_are_of_datasets_and_give_what_readers_want() -> None:
    folders = {benchmark.folder or benchmark.name for benchmark in BENCHMARKS.values()}
    assert set(DOWNLOADS) <= folders
    for name, downloads in DOWNLOADS.items():
        assert downloads[0].use == "examples"
        for download in downloads:
            assert download.url.startswith("https://") or download.url.startswith("http://images.cocodataset.org/")
            assert download.is_archive or download.gives == (download.name,)
            assert not download.checksum or len(download.checksum) in (len("md5:") + 32, len("sha256:") + 64)
        assert downloads_of(get_benchmark(name))
    assert [one.use for one in downloads_of(get_benchmark("vizwiz_test"))] == ["examples", "examples", "server"]


def test_gated_datasets_say_how(tmp_path: Path) -> None:
    gated = {benchmark.name for benchmark in TABLE1 if benchmark.source.gated}
    assert gated == {"story_cloze", "hateful_memes", "flickr30k", "imagenet", "cub"}
    for benchmark in TABLE1:
        assert benchmark.source.how and benchmark.source.licence and benchmark.source.url.startswith("http")
        assert benchmark.source.files
