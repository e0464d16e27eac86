from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.data.permutation import Permutation, mix, seed_of


@settings(max_examples=60, deadline=None, derandomize=True)
@given(size=st.integers(1, 3000), seed=st.integers(0, 2**64 - 1))
def test_every_index_comes_exactly_once(size: int, seed: int) -> None:
    permutation = Permutation(size, seed)
    assert sorted(map(permutation, range(size))) == list(range(size))


def test_order_depends_on_the_seed_and_looks_shuffled() -> None:
    first = [Permutation(1000, 1)(i) for i in range(1000)]
    second = [Permutation(1000, 2)(i) for i in range(1000)]
    assert first != second
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 12
    neighbours = sum(abs(a - b) == 1 for a, b in itertools.pairwise(first))
    assert neighbours < 12


def test_pinned_values() -> None:
    assert mix(0) == 0xE220A8397B1DCDAF  # the first number of splitmix64 from state 0
    assert [Permutation(10, 7)(i) for i in range(10)] == [5, 0, 1, 9, 3, 4, 7, 8, 6, 2]
    assert seed_of(1, 2) != seed_of(2, 1)


def test_huge_size_needs_no_memory() -> None:
    permutation = Permutation(1 << 62, 3)
    assert len({permutation(i) for i in range(200)}) == 200


def test_out_of_range() -> None:
    with pytest.raises(IndexError):
        Permutation(5, 0)(5)
    with pytest.raises(ValueError):
        Permutation(0, 0)
