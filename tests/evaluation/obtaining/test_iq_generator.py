"""Stand-ins for the IQ test: one solution, and nothing to be had from the candidates alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from kosmos.data.picturebook.worlds.raven import Panel
from kosmos.errors import UsageError
from kosmos.evaluation.obtaining.iq_generator import (
    GIVEN,
    NAMES,
    RULES,
    IqItem,
    Rule,
    make_item,
    make_items,
    solutions,
    write_items,
)
from kosmos.evaluation.tasks.iq50 import read
from kosmos.images import decode_image

COUNT = 5000
# Half of the 95 % interval of a share of 1/6 among 5,000.
HALF = 1.96 * math.sqrt(1 / 6 * 5 / 6 / COUNT)


@pytest.fixture(scope="module")
def items() -> list[IqItem]:
    return make_items(COUNT, seed=11)


@pytest.fixture(scope="module")
def others() -> list[IqItem]:
    return make_items(2000, seed=12)


def uniform(items: Sequence[IqItem]) -> list[float]:
    choices = np.random.default_rng(0).integers(6, size=len(items)).tolist()
    return [float(item.answer == choice) for item, choice in zip(items, choices)]


def plurality(item: IqItem, candidate: int) -> float:
    """How many of the candidates have each of its values: the way into many matrix tests."""
    return sum(other[name] == item.candidates[candidate][name] for other in item.candidates for name in NAMES)


def oddity(item: IqItem, candidate: int) -> float:
    return -plurality(item, candidate)


def first(item: IqItem, candidate: int) -> float:
    return -candidate


def hits(items: Sequence[IqItem], score: Callable[[IqItem, int], float]) -> float:
    """Share of right answers of the best score; ties by expectation."""
    total = 0.0
    for item in items:
        scores = [score(item, candidate) for candidate in range(6)]
        best = [candidate for candidate in range(6) if scores[candidate] == max(scores)]
        total += (item.answer in best) / len(best)
    return total / len(items)


def learned(train: Sequence[IqItem]) -> Callable[[IqItem, int], float]:
    """A context-blind solver fitted on other items: how often a candidate of this place, these values, and values so
    common among the candidates is the right one (naive Bayes)."""

    def features(item: IqItem, candidate: int) -> list[object]:
        panel = item.candidates[candidate]
        common = tuple(sorted(sum(other[name] == panel[name] for other in item.candidates) for name in NAMES))
        values = [(name, panel[name]) for name in NAMES]
        pairs = [(one, other) for place, one in enumerate(values) for other in values[place + 1 :]]
        return [candidate, common, *values, *pairs]

    right: Counter[object] = Counter()
    all_: Counter[object] = Counter()
    for item in train:
        for candidate in range(6):
            for feature in features(item, candidate):
                all_[feature] += 1
                right[feature] += candidate == item.answer
    return lambda item, candidate: sum(
        math.log((right[feature] + 1) / (all_[feature] + 6)) for feature in features(item, candidate)
    )


def test_a_uniform_solver_is_at_chance(items: list[IqItem]) -> None:
    assert abs(sum(uniform(items)) / COUNT - 1 / 6) < HALF


@pytest.mark.parametrize("score", [plurality, oddity, first])
def test_context_blind_solvers_are_at_chance(score: Callable[[IqItem, int], float], items: list[IqItem]) -> None:
    assert abs(hits(items, score) - 1 / 6) < HALF


def test_a_fitted_context_blind_solver_is_at_chance(items: list[IqItem], others: list[IqItem]) -> None:
    assert abs(hits(items, learned(others)) - 1 / 6) < HALF


def test_the_solvers_would_find_a_leak(items: list[IqItem], others: list[IqItem]) -> None:
    """Items whose wrong candidates each differ from the right one in one way: plurality solves them."""
    leaky = [leak(item) for item in items[:500]]
    assert hits(leaky, plurality) > 0.3
    assert hits(leaky, learned([leak(item) for item in others[:500]])) > 0.3


def leak(item: IqItem) -> IqItem:
    """The same item where every wrong candidate shares more with the right one."""
    right = item.candidates[item.answer]
    changed = [{**right, NAMES[place % len(NAMES)]: f"other {place}"} for place in range(5)]
    candidates: list[Panel] = [*changed[: item.answer], right, *changed[item.answer :]]
    return IqItem(item.given, tuple(candidates), item.answer, item.rules)


def test_every_item_has_one_solution(items: list[IqItem]) -> None:
    assert all(solutions(item.given, item.candidates) == [item.answer] for item in items)
    assert Counter(len(item.given) for item in items) == {3: 1667, 4: 1667, 8: 1666}
    assert all(len({tuple(sorted(map(str, c.items()))) for c in item.candidates}) == 6 for item in items)
    used = Counter(rule for item in items for rule in item.rules.values())
    assert set(used) == {rule.name for rules in RULES.values() for rule in rules}
    assert all(len(item.rules) == 2 for item in items)


def test_candidates_repeat_each_value_equally_often(items: list[IqItem]) -> None:
    for item in items[:500]:
        for name in NAMES:
            assert len(set(Counter(candidate[name] for candidate in item.candidates).values())) == 1


def test_solutions_are_found_without_knowing_the_rules() -> None:
    def panel(shape: str, count: int) -> Panel:
        return {"shape": shape, "color": "red", "count": count, "size": "small"}

    given = [panel("circle", 1), panel("circle", 2), panel("square", 1)]
    right, wrong = panel("square", 2), panel("circle", 2)
    assert solutions(given, [wrong, right, panel("square", 3)]) == [1]
    # Three equal panels: only the same again goes on.
    assert solutions([wrong] * 3, [wrong, right]) == [0]
    # A rule that fits in two ways leaves two solutions, which the generator would throw away.
    assert solutions([wrong, wrong, wrong, wrong], [right]) == []


@pytest.mark.parametrize(
    ("pattern", "given", "missing"),
    [
        ((0, 0, 1, 1), "aab", "b"),
        ((0, 1, 0, 1), "aba", "b"),
        ((0, 1, 0, 1), "abb", None),
        ((0, 0, 1, 1), "aaa", None),  # different numbers are different values
        ((0, 1, 0, 1, 0), "abab", "a"),
        ((0, 1, 2, 0, 1), "abca", "b"),
        ((0, 0, 0), "aa", "a"),
    ],
)
def test_rules(pattern: tuple[int, ...], given: str, missing: str | None) -> None:
    assert Rule("", pattern).missing(list(given)) == missing


def test_items_do_not_depend_on_how_many_are_made(items: list[IqItem]) -> None:
    assert make_items(7, seed=11) == items[:7]
    assert make_items(7, seed=12) != items[:7]
    with pytest.raises(UsageError, match="5 panels given: there are items with 3, 4 and 8"):
        make_item(np.random.default_rng(0), 5)


def test_written_items_are_read_back(tmp_path: Path, items: list[IqItem]) -> None:
    path = write_items(tmp_path, items[:6], seed=11, size=48)
    table = json.loads(path.read_text())
    assert table["stand_in"] is True and "not the paper's 50 items" in table["note"]
    assert (table["format"], table["seed"]) == ("kosmos-iq-1", 11)
    examples = read(tmp_path, "test")
    assert [example.fields for example in examples] == [
        {"given": len(item.given), "label": item.answer} for item in items[:6]
    ]
    assert [example.fields["given"] for example in examples] == [*GIVEN, *GIVEN]
    for example, item in zip(examples, items):
        assert example.meta["stand_in"] is True
        assert len(example.images) == len(item.given) + 6
        assert all(decode_image(image).size == (48, 48) for image in example.images)
        candidates = example.images[len(item.given) :]
        assert len({image.sha256 for image in candidates}) == 6  # to be seen, not in the table alone
