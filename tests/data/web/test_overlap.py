"""Overlap with evaluation data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.data.web.overlap import OverlapIndex, evaluation_texts
from kosmos.data.web.settings import OverlapRules
from kosmos.errors import DataError

LONG = "the quick brown fox jumps over the lazy dog and then it sleeps in the warm sun all day"
SHORT = "a man is slicing bread in the kitchen"  # eight words


def test_a_run_of_thirteen_words_or_a_whole_short_item_overlaps() -> None:
    index = OverlapIndex.build([LONG, SHORT, "too short"], OverlapRules())
    assert (index.items, index.too_short) == (3, 1)
    words = LONG.split()
    assert index.overlaps("Before. " + " ".join(words[3:16]).upper() + "! After.")
    assert not index.overlaps("Before. " + " ".join(words[3:15]) + " other words follow here and go on")
    assert index.overlaps("He says: A man is slicing bread, in the kitchen.")
    assert not index.overlaps("A man is slicing bread in the garden")
    assert not index.overlaps("")


def test_the_index_is_kept_in_a_file(tmp_path: Path) -> None:
    index = OverlapIndex.build([LONG, SHORT], OverlapRules())
    index.save(tmp_path / "index.npz")
    loaded = OverlapIndex.load(tmp_path / "index.npz")
    assert sorted(loaded.runs) == [8, 13] and loaded.items == 2
    assert loaded.overlaps(LONG) and not loaded.overlaps("nothing of it " * 5)


def test_items_of_files(tmp_path: Path) -> None:
    files = {
        "a.json": json.dumps({"data": [{"q": "one", "n": 3, "choices": ["two", " "]}]}),
        "b.jsonl": '{"x": "three"}\n\n["four"]\n',
        "c.csv": 'five,"six, seven"\n',
        "d.tsv": "eight\tnine\n",
        "e.txt": "ten\n\neleven\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    found = list(evaluation_texts(str(tmp_path / name) for name in files))
    assert sorted(found) == sorted(
        ["one", "two", "three", "four", "five", "six, seven", "eight", "nine", "ten", "eleven"]
    )


def test_bad_evaluation_data_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"a": "b"}\n{oops\n')
    with pytest.raises(DataError, match=r"bad.jsonl line 2: not JSON"):
        list(evaluation_texts([str(bad)]))
    with pytest.raises(DataError, match=r"missing.txt: cannot read"):
        list(evaluation_texts([str(tmp_path / "missing.txt")]))
