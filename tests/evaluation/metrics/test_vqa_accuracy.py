from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered, set_metric
from kosmos.evaluation.metrics.vqa_accuracy import normalize_answer, vqa_accuracy

Rows = list[tuple[str, tuple[str, ...]]]


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        ("The Red car", "red car"),
        ("none", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("dont know", "don't know"),
        ("shes", "shes"),
        ("couldnt've couldn'tve couldntve", "couldn't've couldn't've couldntve"),
        ("yall'd've", "y'all'd've"),
        ("somebody'd", "somebodyd"),
        ("twas", "'twas"),
        ("Im", "im"),  # the official table has it with a capital, after lower-casing
        ("dog's 5:30", "dog's 5:30"),
        ("red/blue", "red blue"),
        ("red/ blue", "red blue"),
        ("black-white - grey", "blackwhite grey"),  # one hyphen beside a space: all of them are dropped
        ("1,000-2,000", "10002000"),  # a comma within a number: every mark is dropped
        ("a, b", "b"),
        ("u.s.a.", "usa"),
        ("3.5.", "3.5"),
        ("5.", "5"),
        (".5", ".5"),
        ("a." * 33, "a" * 33 + "."),  # only 32 periods go
    ],
)
def test_normalisation(answer: str, normalised: str) -> None:
    assert normalize_answer(answer) == normalised


@pytest.mark.parametrize(("same", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0)])
def test_three_of_the_others_are_enough(same: int, accuracy: float) -> None:
    answers = ["cat"] * same + [f"dog {index}" for index in range(10 - same)]
    assert vqa_accuracy("cat", answers) == pytest.approx(accuracy)


def test_normalised_only_where_people_differ() -> None:
    assert vqa_accuracy("Cat.", ["cat"] * 10) == 0.0
    assert vqa_accuracy(" cat\n", ["cat"] * 10) == 1.0
    assert vqa_accuracy("Cat.", ["cat"] * 9 + ["The cat"]) == 1.0
    assert vqa_accuracy("two", ["2"] * 10) == 0.0


def test_the_answers_order_does_not_matter() -> None:
    answers = ["a cat", "cat", "dog", "Cat!", "2", "two", "x", "y", "z", "w"]
    assert vqa_accuracy("cat", answers) == vqa_accuracy("cat", answers[::-1]) == pytest.approx(0.9)


def test_answer_types_are_told_apart() -> None:
    given = [
        Answered("1", "yes", ("yes",) * 10, fields={"answer_type": "yes/no"}),
        Answered("2", "3", ("2",) * 10, fields={"answer_type": "number"}),
    ]
    measured = set_metric("vqa_accuracy").measure(given)
    assert (measured.value, measured.values) == (0.5, (1.0, 0.0))
    assert measured.details == {"answer_type number": 0.0, "answer_type yes/no": 1.0}


def test_a_test_split_is_refused() -> None:
    with pytest.raises(DataError, match="question 17 has no answers"):
        set_metric("vqa_accuracy").measure([Answered("17", "yes")])
    with pytest.raises(DataError, match="needs the answers"):
        vqa_accuracy("yes", [])
    with pytest.raises(UsageError, match="at least one"):
        set_metric("vqa_accuracy").measure([])


def test_all_hard_strings(published: Callable[[str], Any]) -> None:
    pairs = published("oracles/vqa_normalise_vizwiz_hard.json")
    assert len(pairs) == 101
    assert [normalize_answer(answer) for answer, _ in pairs] == [normalised for _, normalised in pairs]


def commonest(answers: tuple[str, ...]) -> str:
    return Counter(answers).most_common(1)[0][0]


@pytest.mark.parametrize(
    ("predict", "percent"),
    [
        (lambda answers: "unanswerable", 52.12),
        (commonest, 94.11),
        (lambda answers: commonest(answers).capitalize() + ".", 86.75),
        (lambda answers: answers[0], 73.51),
    ],
)
def test_constants_on_vizwiz(predict: Callable[[tuple[str, ...]], str], percent: float, vizwiz: Rows) -> None:
    assert len(vizwiz) == 4_319
    given = [Answered(key, predict(answers), answers) for key, answers in vizwiz]
    assert round(100 * set_metric("vqa_accuracy").measure(given).value, 2) == percent


def test_real_vqav2(published: Callable[[str], Any]) -> None:
    rows = published("vqav2/annotations.json")["annotations"]
    answers = [tuple(answer["answer"] for answer in row["answers"]) for row in rows]
    given = [Answered(str(index), commonest(said), said) for index, said in enumerate(answers)]
    assert len(given) == 3
    assert answers[0].count("net") == 6
    measured = set_metric("vqa_accuracy").measure(given)
    assert measured.values is not None and measured.values[0] == 1.0


def test_a_validation_set_takes_less_than_ten_seconds() -> None:
    words = [f"thing-{index}, the {index % 977}" for index in range(30_000)]
    people = [tuple(words[(index * 7 + at * at) % 30_000] for at in range(10)) for index in range(20_000)]
    one_of_each = [Answered(str(index), words[index], people[index]) for index in range(20_000)]
    given = [one_of_each[index % 20_000] for index in range(214_354)]
    start = time.process_time()
    measured = set_metric("vqa_accuracy").measure(given)
    spent = time.process_time() - start
    assert measured.values is not None and len(measured.values) == 214_354
    assert spent < 10.0  # measured: 0.8 s
