"""`kosmos eval prepare` against a server on loopback, and what it says where nothing can be fetched."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.obtaining import downloads
from kosmos.evaluation.obtaining.downloads import Download
from tests.cli.process import Command, snapshot
from tests.data.fetch.conftest import server, site  # noqa: F401  fixtures
from tests.data.fetch.loopback import Site

MIRROR = ("--allow-network", "127.0.0.1/32")


@pytest.fixture
def mirror(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:  # noqa: F811
    """All downloads lead to loopback, and their checksums are not asked."""
    for name, some in downloads.DOWNLOADS.items():
        moved = tuple(
            replace(one, url=f"http://127.0.0.1:{site.port}/{one.name}", checksum="", bytes=min(one.bytes, 10**6))
            for one in some
        )
        monkeypatch.setitem(downloads.DOWNLOADS, name, moved)
    return site


def boolq_zip(tmp_path: Path) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for file in sorted(write_fixture("boolq", tmp_path / "made").iterdir()):
            archive.write(file, f"BoolQ/{file.name}")
    return made.getvalue()


def test_an_archive_is_fetched_unpacked_and_checked(mirror: Site, kosmos_here: Command, tmp_path: Path) -> None:
    mirror.pages["/BoolQ.zip"] = boolq_zip(tmp_path)
    finished = kosmos_here("eval", "prepare", "boolq", *MIRROR, cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert sorted(path.name for path in (tmp_path / "eval-data" / "boolq").iterdir()) == ["train.jsonl", "val.jsonl"]
    lines = [line.strip() for line in finished.stdout.splitlines()]
    assert lines[0] == "boolq (BoolQ) in eval-data/boolq"
    assert "unpacked 2 files" in lines
    assert lines[-1].startswith('ok       the first prompt: "...')
    before = list(mirror.seen)
    again = kosmos_here("eval", "prepare", "boolq", *MIRROR, cwd=tmp_path)
    assert again.returncode == 0 and "fetching" not in again.stdout
    assert mirror.seen == before


def test_plain_files_and_one_that_is_gone(mirror: Site, kosmos_here: Command, tmp_path: Path) -> None:
    for file in write_fixture("piqa", tmp_path / "made").iterdir():
        mirror.pages[f"/{file.name}"] = file.read_bytes()
    del mirror.pages["/valid-labels.lst"]
    finished = kosmos_here("eval", "prepare", "piqa", *MIRROR, cwd=tmp_path)
    assert finished.returncode == 3
    assert "/valid-labels.lst: cannot be fetched: http 404" in finished.stdout
    assert "licence: AFL 3.0" in finished.stdout and "how: Take train.jsonl, train-labels.lst" in finished.stdout
    assert "0 of 1 can be evaluated; not piqa" in finished.stdout
    mirror.pages["/valid-labels.lst"] = (tmp_path / "made" / "piqa" / "valid-labels.lst").read_bytes()
    assert kosmos_here("eval", "prepare", "piqa", *MIRROR, cwd=tmp_path).returncode == 0
    assert mirror.paths("127.0.0.1").count("/valid.jsonl") == 1


def test_another_file_than_the_known_one(
    mirror: Site, kosmos_here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{mirror.port}/sizePairsFull.txt"
    known = "sha256:" + hashlib.sha256(b"barn mouse\n").hexdigest()
    monkeypatch.setitem(
        downloads.DOWNLOADS, "relative_size", (Download(url, ("sizePairsFull.txt",), 100, checksum=known),)
    )
    mirror.pages["/sizePairsFull.txt"] = b"<html>moved</html>"
    finished = kosmos_here("eval", "prepare", "relative_size", *MIRROR, cwd=tmp_path)
    assert finished.returncode == 3
    assert "sizePairsFull.txt.unknown: its sha256 is " in finished.stdout
    assert "not the known" in finished.stdout
    mirror.pages["/sizePairsFull.txt"] = b"barn mouse\n"
    assert kosmos_here("eval", "prepare", "relative_size", *MIRROR, cwd=tmp_path).returncode == 0


def test_large_files_are_left_out_and_an_archive_by_other_means_is_taken(
    mirror: Site, kosmos_here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_fixture("vizwiz", tmp_path / "made")
    folder = tmp_path / "eval-data" / "vizwiz"
    folder.mkdir(parents=True)
    annotations, val = (
        Download(f"http://127.0.0.1:{mirror.port}/Annotations.zip", ("Annotations/*.json",), 10**6),
        Download(f"http://127.0.0.1:{mirror.port}/val.zip", ("val/*.jpg",), 4 * 10**9),
    )
    monkeypatch.setitem(downloads.DOWNLOADS, "vizwiz", (annotations, val))
    for name, where in (("Annotations", None), ("val", folder / "val.zip")):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for file in (made / name).iterdir():
                archive.write(file, f"{name}/{file.name}")
        mirror.pages[f"/{name}.zip"] = content.getvalue()
        kept = content.getvalue() if where else b""
    finished = kosmos_here("eval", "prepare", "vizwiz", *MIRROR, cwd=tmp_path)
    assert finished.returncode == 3
    assert f"left out: {val.url} (up to 4,000 MB); --large fetches it too" in finished.stdout
    assert "8 of 8 pictures are missing" in finished.stdout
    (folder / "val.zip").write_bytes(kept)
    finished = kosmos_here("eval", "prepare", "vizwiz", *MIRROR, cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout
    assert "unpacked 8 files" in finished.stdout and not (folder / "val.zip").exists()
    assert "/val.zip" not in mirror.paths("127.0.0.1")


def test_coco_pictures_beside_are_linked(mirror: Site, kosmos_here: Command, tmp_path: Path) -> None:
    data = tmp_path / "eval-data"
    write_fixture("vqav2", data)
    (data / "coco_caption").mkdir()
    for name in ("val2014", "train2014"):
        (data / "vqav2" / name).rename(data / "coco_caption" / name)
    finished = kosmos_here("eval", "prepare", "vqav2", *MIRROR, cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout
    assert "linked val2014 to coco_caption/val2014" in finished.stdout
    assert (data / "vqav2" / "val2014").is_symlink() and mirror.seen == []


@pytest.mark.parametrize("name", ["hateful_memes", "story_cloze", "imagenet", "websrc"])
def test_what_cannot_be_fetched_says_how(name: str, kosmos_here: Command, tmp_path: Path) -> None:
    finished = kosmos_here("eval", "prepare", name, cwd=tmp_path)
    assert finished.returncode == 3
    said = finished.stdout
    assert ("a form or licence stands before it: " in said) == (name != "websrc")
    assert "  where: https://" in said and "  how: " in said and f"eval-data/{name} must have: " in said
    assert said.splitlines()[-1] == f"0 of 1 can be evaluated; not {name}"
    assert "kosmos eval prepare" not in said  # that is what was just run


def test_check_changes_nothing(kosmos_here: Command, tmp_path: Path) -> None:
    write_fixture("cb", tmp_path / "eval-data")
    before = snapshot(tmp_path)
    finished = kosmos_here("eval", "prepare", "cb,copa", "--check", cwd=tmp_path)
    assert finished.returncode == 3
    assert "1 of 2 can be evaluated; not copa" in finished.stdout
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "eval-data" / "copa").exists()


def test_an_unknown_dataset(kosmos_here: Command, tmp_path: Path) -> None:
    finished = kosmos_here("eval", "prepare", "boolqq", cwd=tmp_path)
    assert finished.returncode == 2
    assert "no dataset or group 'boolqq' (did you mean 'boolq'?)" in finished.stderr
