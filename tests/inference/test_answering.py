"""Which requests are asked together, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kosmos.errors import DataError, ImageError, StorageError
from kosmos.inference.answering import Answer, answer_batches
from kosmos.inference.requests import BadRequest, Request, key_of


def request(identity: Any, text: str = "a") -> Request[None]:
    return Request(identity, f"file:{identity}", (text,), None)


class Asked:
    """Answers each request with its text, except those that say they are bad; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def __call__(self, batch: list[Request[None]]) -> Sequence[Mapping[str, Any]]:
        for one in batch:
            if one.parts[0] == "bad":
                raise ImageError(f"{one.id}.png is none")
        self.batches.append([one.id for one in batch])
        return [{"text": one.parts[0]} for one in batch]


def all_of(items: Sequence[Request[None] | BadRequest], asked: Asked, **options: Any) -> list[tuple[int, Answer]]:
    batches = answer_batches(items, asked, length=lambda one: len(str(one.parts[0])), **options)
    return [answer for batch in batches for answer in batch]


def test_prompts_of_similar_length_go_together_and_bad_lines_first() -> None:
    items: list[Request[None] | BadRequest] = [
        request(1, "aaaa"),
        request(2, "a"),
        BadRequest(3, "file:3", "no"),
        request(4, "aaa"),
        request(5, "aa"),
    ]
    asked = Asked()
    made = all_of(items, asked, batch_size=2)
    assert asked.batches == [[1, 4], [5, 2]]  # the longest first, then the shortest
    assert made[0] == (2, {"id": 3, "error": "no"})
    assert sorted(made) == [
        (0, {"id": 1, "text": "aaaa"}),
        (1, {"id": 2, "text": "a"}),
        (2, {"id": 3, "error": "no"}),
        (3, {"id": 4, "text": "aaa"}),
        (4, {"id": 5, "text": "aa"}),
    ]


def test_a_window_bounds_what_is_sorted_together() -> None:
    items = [request(number, "a" * (100 - number)) for number in range(40)]
    asked = Asked()
    assert len(all_of(items, asked, batch_size=2)) == 40
    assert {identity for batch in asked.batches[:16] for identity in batch} == set(range(32))


def test_what_is_answered_does_not_change_the_other_batches() -> None:
    items = [request(number, "a" * (number % 7)) for number in range(30)]
    whole = Asked()
    all_of(items, whole, batch_size=4)
    for cut in (1, 3, 5):
        done = {key_of(identity) for batch in whole.batches[:cut] for identity in batch}
        rest = Asked()
        all_of(items, rest, batch_size=4, answered=done)
        assert rest.batches == whole.batches[cut:]


def test_a_request_that_fails_does_not_take_its_batch_along() -> None:
    items = [request(number, "bad" if number in (2, 5) else "fin") for number in range(8)]
    asked = Asked()
    made = dict(all_of(items, asked, batch_size=8))
    assert {place for place, answer in made.items() if "error" in answer} == {2, 5}
    assert made[5] == {"id": 5, "error": "5.png is none"}
    assert sorted(identity for batch in asked.batches for identity in batch) == [0, 1, 3, 4, 6, 7]


def test_a_full_disk_is_no_request_s_fault() -> None:
    def ask(batch: list[Request[None]]) -> Sequence[Mapping[str, Any]]:
        raise StorageError("full")

    try:
        list(answer_batches([request(1)], ask, length=lambda one: 1, batch_size=1))
    except StorageError as error:
        assert str(error) == "full"
    else:
        raise AssertionError("no error")


def test_errors_of_a_line_are_data_errors_and_usage_errors() -> None:
    def ask(batch: list[Request[None]]) -> Sequence[Mapping[str, Any]]:
        raise DataError("no")

    assert list(answer_batches([request(1)], ask, length=lambda one: 1, batch_size=1)) == [
        [(0, {"id": 1, "error": "no"})]
    ]
