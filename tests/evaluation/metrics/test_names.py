from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kosmos.errors import DataError
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.metrics.category_name import category_name, own_words
from kosmos.evaluation.metrics.exact_name import TWIN_NAMES, exact_name

WOODPECKERS = ("three toed woodpecker", "downy woodpecker")
PENGUINS = ("Gentoo penguin", "royal penguin")
SPARROWS = ("black throated sparrow", "fox sparrow")


@pytest.mark.parametrize(
    ("text", "names", "label", "right"),
    [
        ("Downy", WOODPECKERS, 1, True),
        (" a downy woodpecker", WOODPECKERS, 1, True),
        ("The Downy Woodpecker.", WOODPECKERS, 1, True),
        ("downy", WOODPECKERS, 0, False),
        ("three toed", WOODPECKERS, 0, True),
        ("a three-toed woodpecker", WOODPECKERS, 0, True),
        ("It is the toed one", WOODPECKERS, 0, True),
        ("woodpecker", WOODPECKERS, 0, False),
        ("woodpecker", WOODPECKERS, 1, False),
        ("downy or three toed woodpecker", WOODPECKERS, 1, False),
        ("downy or three toed woodpecker", WOODPECKERS, 0, False),
        ("", WOODPECKERS, 1, False),
        ("a sparrow", WOODPECKERS, 1, False),
        ("gentoo", PENGUINS, 0, True),
        ("GENTOO PENGUIN", PENGUINS, 0, True),
        ("a royal penguin", PENGUINS, 0, False),
        ("royalty", PENGUINS, 1, False),
        ("fox", SPARROWS, 1, True),
        ("a fox sparrow with a black head", SPARROWS, 1, False),
        ("the throated sparrow", SPARROWS, 0, True),
    ],
)
def test_twenty_answers(text: str, names: tuple[str, str], label: int, right: bool) -> None:
    assert category_name(text, names, label) is right
    given = [Answered("1", text, (names[label],), label=label, fields={"categories": names})]
    assert set_metric("category_name").measure(given).value == float(right)


def test_articles_name_nothing() -> None:
    assert category_name("the wren", ("the fox", "a wren"), 1)
    assert own_words(("the fox", "a wren")) == [{"fox"}, {"wren"}]


def test_names_must_differ_by_a_word_each() -> None:
    with pytest.raises(DataError, match="'sparrow' has no word that the other one lacks"):
        category_name("sparrow", ("sparrow", "fox sparrow"), 0)
    with pytest.raises(DataError, match="example 9: category_name needs fields 'categories'"):
        set_metric("category_name").measure([Answered("9", "fox", ("fox sparrow",), label=0)])


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("missile", True),
        (" missile\n", True),
        ("Missile", False),
        ("missile.", False),
        ("a missile", False),
        ("", False),
    ],
)
def test_exact_names(text: str, right: bool) -> None:
    assert exact_name(text, ["missile"]) is right


def test_case_and_twins_are_told() -> None:
    given = [Answered("1", "Missile", ("missile",)), Answered("2", "tench", ("tench",))]
    measured = set_metric("exact_name").measure(given)
    assert (measured.value, measured.details) == (0.5, {"any_case": 1.0, "twins": 1.0})
    with pytest.raises(DataError, match="example 3"):
        set_metric("exact_name").measure([Answered("3", "tench")])


def test_the_twins_are_all_there_are(shared_dir: Path) -> None:
    path = shared_dir / "data" / "imagenet" / "class_names.txt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    names = path.read_text(encoding="utf-8").splitlines()
    assert len(names) == 1000
    assert {name for name, count in Counter(names).items() if count > 1} == set(TWIN_NAMES)
