"""Worlds made of the real drawings: labels are checked against the pictures, splits against each other."""

from __future__ import annotations

import re

import numpy as np
import pytest

from kosmos.data.picturebook.canvas import COLORS, SHAPES
from kosmos.data.picturebook.concepts import PictureBook
from kosmos.data.picturebook.reader import stream
from kosmos.data.picturebook.vocabulary import CATEGORIES, MADE_UP_WORDS, NUMBERS, held_out_count, nouns
from kosmos.data.picturebook.worlds import (
    WORLDS,
    binding,
    captions,
    colors,
    counting,
    dialogue,
    explanation,
    pictures,
    scenes,
)
from kosmos.example import Example

DRAWN = [name for name, world in WORLDS.items() if world.needs_book and name != "pages"]


def items(book: PictureBook, world: str, split: str, count: int) -> list[Example]:
    return [WORLDS[world].sample(book, stream(world, split, 5, 0, number), split, 48) for number in range(count)]


def pixels(example: Example) -> np.ndarray:
    return np.asarray(example.images[0].source)


@pytest.mark.parametrize("world", DRAWN)
@pytest.mark.parametrize("split", ["train", "test"])
def test_pictures_have_the_size_asked_for(book: PictureBook, world: str, split: str) -> None:
    for size in (48, 60):
        example = WORLDS[world].sample(book, stream(world, split, 5, 0, 1), split, size)
        assert all(np.asarray(image.source).shape == (size, size, 3) for image in example.images)
        assert all(np.asarray(image.source).dtype == np.uint8 for image in example.images)


def test_naming_is_plain_in_the_test_and_varied_in_training(book: PictureBook) -> None:
    dog = book.index_of["dog"]
    rng = np.random.default_rng(0)
    plain = [pixels(pictures.draw(book, dog, "twemoji", rng, "test")) for _ in range(2)]
    assert (plain[0] == plain[1]).all() and (plain[0][0, 0] == 255).all()
    varied = [pixels(pictures.draw(book, dog, "noto", rng, "train")) for _ in range(2)]
    assert (varied[0] != varied[1]).any()
    assert all(item.meta["artist"] in book.training_artists for item in items(book, "pictures", "train", 50))
    assert all(item.meta["artist"] == "twemoji" for item in items(book, "pictures", "test", 20))


def test_what_mirroring_would_falsify_is_not_mirrored() -> None:
    assert not pictures.may_flip("one o’clock") and not pictures.may_flip("waxing crescent moon")
    assert not pictures.may_flip("magnifying glass tilted left") and pictures.may_flip("dog")


def test_counts_match_the_picture(book: PictureBook) -> None:
    """On the test's white ground every thing lies in a cell of its own, so filled cells are things."""
    for example in items(book, "counting", "test", 60):
        ink = (pixels(example) != 255).any(axis=2).reshape(3, 16, 3, 16).any(axis=(1, 3))
        (asked, count), *_ = example.meta["objects"]
        assert ink.sum() == sum(number for _, number in example.meta["objects"])
        assert example.fields["answer"] == NUMBERS[count]
        noun = next(noun for noun in nouns(book) if noun.word == asked)
        assert example.fields["question"] == f"how many {noun.plural} are there?"


def test_counts_are_balanced(book: PictureBook) -> None:
    answers = [example.fields["answer"] for example in items(book, "counting", "test", 1000)]
    shares = [answers.count(NUMBERS[count]) / 1000 for count in range(1, 6)]
    assert sum(shares) == pytest.approx(1) and max(abs(share - 0.2) for share in shares) < 0.04


def test_training_never_shows_a_held_out_count(book: PictureBook) -> None:
    by_word = {noun.word: noun for noun in nouns(book)}
    for world in ("counting", "captions"):
        for example in items(book, world, "train", 400):
            assert not any(held_out_count(by_word[word], count) for word, count in example.meta["objects"])
    unseen = [example.meta["unseen_count"] for example in items(book, "counting", "test", 400)]
    assert 0.3 < np.mean(unseen) < 0.5


def test_captions_say_what_was_placed(book: PictureBook) -> None:
    by_word = {noun.word: noun for noun in nouns(book)}
    kinds = set()
    for example in items(book, "captions", "test", 80):
        answer, kind, placed = example.fields["answer"], example.meta["kind"], example.meta["objects"]
        parts = [by_word[word].counted(count) for word, count in placed]
        kinds.add(kind)
        if kind == "relation":
            ink = (pixels(example) != 255).any(axis=2)
            assert ink[:, :24].any() and ink[:, 24:].any() if "left of" in answer else ink[:24].any() and ink[24:].any()
            assert answer in (f"{parts[0]} left of {parts[1]}", f"{parts[0]} above {parts[1]}")
        else:
            assert answer == " and ".join(parts)
    assert kinds == {"count", "groups", "relation"}


def test_colors_match_the_pixels(book: PictureBook) -> None:
    checked = 0
    for example in items(book, "colors", "test", 150):
        rgb = np.array(COLORS[example.fields["answer"]])
        found = (np.abs(pixels(example).astype(int) - rgb).max(axis=2) <= 2).sum()
        if example.meta["kind"] == "background":
            assert (pixels(example)[0, 0] == rgb).all() or found > 300
        elif example.fields["question"][len("what color is the ") : -1] in ("circle", "square", "triangle", "cross"):
            assert found > 40
            checked += 1
    assert checked > 20


def test_color_questions_are_balanced_and_hold_pairs_out(book: PictureBook) -> None:
    examples = items(book, "colors", "test", 1000)
    answers = [example.fields["answer"] for example in examples]
    assert max(answers.count(name) for name in COLORS) < 150
    assert 0.3 < np.mean([example.meta["unseen_pair"] for example in examples]) < 0.55
    names = [*SHAPES, *(noun.word for noun in nouns(book))]
    for example in items(book, "colors", "train", 300):
        for name, color in example.meta["objects"]:
            assert not colors.held_out_color(names.index(name), list(COLORS).index(color))


def test_scene_answers_follow_from_the_places(book: PictureBook) -> None:
    yes = []
    for example in items(book, "scenes", "test", 300):
        question, answer = example.fields["question"], example.fields["answer"]
        placed = {word: (column, row) for word, column, row in example.meta["objects"]}
        if example.meta["kind"] == "presence":
            asked = re.fullmatch(r"is there an? (.+)\?", question)
            assert asked is not None and answer == ("yes" if asked[1] in placed else "no")
        else:
            relation = next(name for name in scenes.RELATIONS if f" {name} the " in question)
            step = scenes.RELATIONS[relation]
            first, second = question[:-1].split(f" {relation} the ")
            if example.meta["kind"] == "place":
                column, row = placed[second]
                assert placed[answer] == (column + step[0], row + step[1])
            else:
                column, row = placed[second]
                true = placed[first.removeprefix("is the ")] == (column + step[0], row + step[1])
                assert answer == ("yes" if true else "no")
        if answer in ("yes", "no"):
            yes.append(answer == "yes")
        for column, row in placed.values():
            corner = pixels(example)[row * 24 : row * 24 + 24, column * 24 : column * 24 + 24]
            assert (corner != 255).any()
    assert 0.4 < np.mean(yes) < 0.6


def test_the_odd_one_is_odd(book: PictureBook) -> None:
    category = {noun.word: noun.category for noun in nouns(book)}
    assert min(sum(noun.category == name for noun in nouns(book)) for name in CATEGORIES) >= 4
    for example in items(book, "explanation", "test", 60):
        meta = example.meta
        assert {category[word] for word in meta["same"]} == {meta["common"]} != {category[meta["odd"]]}
        assert example.fields["answer"] == f"the {meta['odd']}, because the others are {meta['common']}"
        ink = (pixels(example) != 255).any(axis=2).reshape(2, 24, 2, 24).any(axis=(1, 3))
        assert ink.sum() == 1 + len(meta["same"])


def test_the_second_turn_needs_the_first(book: PictureBook) -> None:
    """Asked about the other side, the same picture and second question have another answer."""
    category = {noun.word: noun.category for noun in nouns(book)}
    for example in items(book, "dialogue", "test", 100):
        (left, left_color), (right, right_color) = example.meta["objects"]
        answers = {
            "background": (left_color, right_color),
            "beside": (right, left),
            "animal": tuple("yes" if category[word] == "animals" else "no" for word in (left, right)),
        }[example.meta["kind"]]
        side = dialogue.SIDES.index(example.meta["asked"])
        assert example.fields["answer"] == answers[side] != answers[1 - side]
        first, second = example.fields["turns"]
        assert first[1] in ((left, right)[side], example.meta["asked"]) and "it" in second[0]
        if example.meta["kind"] == "background":
            panel = pixels(example)[2, side * 24 + 1]
            assert tuple(panel) == dialogue.PANELS[example.fields["answer"]]


def test_binding_demonstrations(book: PictureBook) -> None:
    for shots in binding.SHOTS:
        latest = []
        for number in range(100):
            example = binding.draw(book, stream("binding", "test", 5, shots, number), "test", shots)
            labels, words = example.fields["demonstrations"], example.meta["words"]
            assert len(labels) == shots == len(example.images) - 1
            assert sorted(labels) == sorted(words * (shots // 2))
            assert labels == [words[way] for way in example.meta["order"]]
            assert example.fields["answer"] == words[example.meta["asked"]]
            assert example.meta["query_artist"] == "twemoji"
            latest.append(bool(labels) and labels[-1] == example.fields["answer"])
        assert not shots or 0.35 < np.mean(latest) < 0.65


def test_shuffled_labels_say_nothing(book: PictureBook) -> None:
    agreement = []
    for number in range(150):
        example = binding.draw(book, stream("shuffled", "test", 5, 0, number), "test", 8, shuffled=True)
        labels, words = example.fields["demonstrations"], example.meta["words"]
        assert sorted(labels) == sorted(words * 4)
        agreement += [label == words[way] for label, way in zip(labels, example.meta["order"])]
    assert 0.44 < np.mean(agreement) < 0.56


def test_pairings_of_the_test_are_new(book: PictureBook) -> None:
    for split in ("train", "test"):
        for example in items(book, "binding", split, 100):
            for label, word in zip(example.meta["concepts"], example.meta["words"]):
                pair = book.index_of[label], MADE_UP_WORDS.index(word)
                assert binding.held_out_pairing(*pair) == (split == "test")


def test_captions_of_training_come_from_training_artists(book: PictureBook) -> None:
    """With the held-out drawings blanked, training scenes are unchanged."""
    blank = {**book.pictures, "twemoji": np.zeros_like(book.pictures["twemoji"])}
    without = PictureBook(book.concepts, blank, book.indices)
    for number in range(20):
        both = [captions.sample(b, stream("captions", "train", 5, 0, number), "train") for b in (book, without)]
        assert (pixels(both[0]) == pixels(both[1])).all()
    assert counting.MOST == 5 and explanation.QUESTION.endswith("why?")
