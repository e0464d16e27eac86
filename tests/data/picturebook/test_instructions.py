"""Generated instructions: right answers, nothing of the test in training, outputs alone supervised."""

from __future__ import annotations

from collections import Counter

import pytest

from kosmos.config import CorpusConfig
from kosmos.data.picturebook.canvas import COLORS
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.instructions import (
    FAMILIES,
    InstructionReader,
    held_out_instructions,
    instruction_document,
    kept_for_test,
    words_of,
)
from kosmos.data.picturebook.vocabulary import NUMBERS, nouns
from kosmos.data.readers import open_reader
from kosmos.document import Document, Text
from kosmos.errors import ConfigError
from kosmos.example import Example


def expected(example: Example, book: PictureBook) -> str:
    """The right output, worked out anew from the input."""
    words = example.fields["input"].split()
    nouns_by_word = {noun.word: noun for noun in nouns(book)}
    match example.meta["family"]:
        case "repeat" | "first":
            return str(words[0])
        case "last":
            return str(words[-1])
        case "reverse":
            return f"{words[1]} {words[0]}"
        case "same":
            return "yes" if words[0] == words[1] else "no"
        case "count":
            return NUMBERS[len(words)]
        case "color":
            [color] = [word for word in words if word in COLORS]
            return str(color)
        case "next":
            return str(int(words[0]) + 1)
        case "kind":
            return nouns_by_word[words[0]].category
        case _:
            return nouns_by_word[words[0]].plural


@pytest.fixture(scope="module")
def training(book: PictureBook) -> list[Example]:
    reader = InstructionReader(3, book)
    return [reader.example("instructions-04", record, 1) for record in range(600)]


def test_outputs_are_right(book: PictureBook, training: list[Example]) -> None:
    for example in (*training, *held_out_instructions(book)):
        assert example.fields["output"] == expected(example, book), example


def test_the_test_asks_for_what_training_never_showed(book: PictureBook, training: list[Example]) -> None:
    test = held_out_instructions(book)
    assert len(test) > 350 and len({example.id for example in test}) == len(test)
    by_family = Counter(example.meta["family"] for example in test)
    assert set(by_family) == set(FAMILIES) and min(by_family.values()) >= 10
    assert 0.4 < sum(example.meta["new_way"] for example in test) / len(test) < 0.6
    for family in FAMILIES.values():
        assert (len(set(family.ways)), len(set(family.new_ways))) == (6, 2)
        assert not set(family.ways) & set(family.new_ways)
    said = {example.fields["instruction"] for example in training}
    assert said == {way for family in FAMILIES.values() for way in family.ways}
    asked = {(example.meta["family"], example.fields["input"]) for example in training}
    assert not any((example.meta["family"], example.fields["input"]) in asked for example in test)
    for example in training:
        if example.meta["family"] != "color":
            assert not any(kept_for_test(word) for word in example.fields["input"].split() if word.isalpha())
    free = [words_of(book, split).free for split in ("train", "test")]
    assert not set(free[0]) & set(free[1]) and min(map(len, free)) > 40


def test_training_takes_all_families_alike(training: list[Example]) -> None:
    counts = Counter(example.meta["family"] for example in training)
    assert set(counts) == set(FAMILIES) and min(counts.values()) > 30


def test_only_the_output_is_supervised(book: PictureBook) -> None:
    fields = {"instruction": "say the first word of", "input": "dax wug", "output": "dax"}
    document = instruction_document(Example("x", fields))
    assert document == Document(Text("say the first word of dax wug", supervised=False), Text(" dax"))
    reader = InstructionReader(3, book)
    assert reader.read("instructions-04", 7, 1) == instruction_document(reader.example("instructions-04", 7, 1))


def test_records_are_pure(book: PictureBook) -> None:
    first, second = InstructionReader(7, book), open_reader(CorpusConfig("picturebook.instructions", ""), 7)
    assert first.shards() == second.shards() and first.num_records(first.shards()[0]) == 1024
    assert first.read("instructions-02", 5, 0) == second.read("instructions-02", 5, 0)
    distinct = {first.read(f"instructions-{n:02d}", 5, epoch) for n in range(8) for epoch in range(8)}
    assert len(distinct) > 50
    with pytest.raises(ConfigError, match="takes no path"):
        open_reader(CorpusConfig("picturebook.instructions", "size=3"), 7)
