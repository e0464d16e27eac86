"""Held-out sets: fixed, stored whole, loaded back as they were drawn."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kosmos.config import CorpusConfig
from kosmos.data.picturebook import heldout
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.heldout import SETS, build_heldout, draw_set, folder_of, interleaved, load_heldout
from kosmos.data.picturebook.templates import template
from kosmos.data.readers import open_reader
from kosmos.document import Document
from kosmos.errors import ConfigError, StorageError

# sha256 of the fields of the first 50 items; pictures may differ between versions of Pillow, texts may not.
FIELDS = {
    "equation": "4f9b654bf3a952b9265101eb7a2bf1a75cadeaeedeab30341741f0f3f2cae0fb",
    "ocr": "e80d58a3403f3b106eaf072fc89a8d157d0bdb155c9ea7acd092eb445a6b98d1",
    "webpage_qa": "4a80aba3289bd7987ad59e3e189cbb8da9b79a0e98ce5cc59b2bc8a73baf2b64",
    "raven_8": "faeafd3c453a7e98c27eda7b4ec184ad1c309ba8300a2029be53e8c48a110fd7",
}


def fields_sha256(name: str) -> str:
    items = [[example.id, example.fields, example.meta] for example in draw_set(name, limit=50)]
    return hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()


def shorten(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    monkeypatch.setitem(SETS, name, replace(SETS[name], count=count))


@pytest.mark.parametrize("name", FIELDS)
def test_fields_are_the_same_everywhere(name: str) -> None:
    assert fields_sha256(name) == FIELDS[name]


def test_every_set_is_large_enough() -> None:
    assert SETS["naming"].count == 853
    fixed = {"naming": 853, "number": 500, "ocr_unseen": 500}
    for name, held_out in SETS.items():
        assert held_out.count == fixed.get(name, 500 if name.startswith(("raven", "in_context")) else 800)


def test_naming_asks_for_every_concept_once(book: PictureBook) -> None:
    examples = draw_set("naming", book=book)
    assert [example.fields["answer"] for example in examples] == list(book.labels)
    assert {example.meta["artist"] for example in examples} == {"twemoji"}
    assert len({example.id for example in examples}) == len({example.cluster for example in examples}) == 853


@pytest.mark.parametrize("name", ["equation", "raven_3"])
def test_stored_and_loaded_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    shorten(monkeypatch, name, 6)
    drawn = draw_set(name)
    loaded = load_heldout(name, cache_folder=tmp_path)
    assert [e.id for e in loaded] == [e.id for e in drawn] == [f"{name}/{number:04d}" for number in range(6)]
    for one, other in zip(drawn, loaded):
        assert one.images == other.images and isinstance(other.images[0].source, np.ndarray)
        assert json.loads(json.dumps(one.fields)) == other.fields
        assert template(one) == template(other)


def test_the_tar_is_the_interleaved_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shorten(monkeypatch, "raven_3", 3)
    folder = build_heldout(cache_folder=tmp_path, names=["raven_3"])
    reader = open_reader(CorpusConfig("interleaved_tar", str(folder / "raven_3" / "raven_3.tar")), 0)
    [shard] = reader.shards()
    assert reader.num_records(shard) == 3
    document = reader.read(shard, 1, 0)
    assert isinstance(document, Document)
    example = draw_set("raven_3")[1]
    assert document.text == template(example).text and len(document.images) == 4
    layout = interleaved(template(example), example)
    assert layout["texts"][0] == "Here are three images:"
    assert layout["images"][1:4] == ["0.png", "1.png", "2.png"]
    assert layout["images"][5] == f"{3 + example.fields['gold']}.png"


def test_damage_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shorten(monkeypatch, "ocr", 2)
    path = build_heldout(cache_folder=tmp_path, names=["ocr"]) / "ocr" / "ocr.jsonl"
    path.write_text(path.read_text().replace('"answer"', '"Answer"'))
    with pytest.raises(StorageError, match="damaged"):
        load_heldout("ocr", cache_folder=tmp_path)


def test_an_interrupted_build_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    shorten(monkeypatch, "ocr", 2)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(heldout, "write_manifest", stop)
        build_heldout(cache_folder=tmp_path, names=["ocr"])
    assert list(folder_of(cache_folder=tmp_path).iterdir()) == []
    assert len(load_heldout("ocr", cache_folder=tmp_path)) == 2


def test_sets_of_older_code_are_removed_once_the_new_ones_are_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    few = {name: replace(SETS[name], count=2) for name in ("ocr", "equation")}
    monkeypatch.setattr(heldout, "SETS", few)
    old = tmp_path / "heldout-48-0123456789ab"
    others = [tmp_path / name for name in ("heldout-32-0123456789ab", "heldout-48-mine", "picturebook-1")]
    for folder in (old, *others):
        folder.mkdir()
    build_heldout(cache_folder=tmp_path, names=["ocr"])
    assert old.exists()
    built = build_heldout(cache_folder=tmp_path, names=["equation"])
    assert not old.exists() and all(folder.exists() for folder in (built, *others))
    old.mkdir()
    build_heldout(cache_folder=tmp_path, names=list(few))
    assert old.exists(), "nothing was built, so nothing is removed"


def test_an_unknown_set_is_an_error() -> None:
    with pytest.raises(ConfigError, match="did you mean 'naming'"):
        draw_set("nameing")
