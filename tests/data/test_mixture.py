from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.data.mixture import Mixture


@settings(max_examples=50, deadline=None, derandomize=True)
@given(weights=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6), seed=st.integers(0, 1 << 40))
def test_every_share_stays_within_one_document_of_its_weight(weights: list[float], seed: int) -> None:
    mixture = Mixture(weights, seed, scale=1)
    total = sum(weights)
    for count in range(1, 300):
        mixture.spend(mixture.choose(), 1)
        for spent, weight in zip(mixture.spent, weights, strict=True):
            assert abs(spent - count * weight / total) < len(weights)


def test_tokens_are_shared_out_although_documents_differ_in_length() -> None:
    mixture = Mixture([3.0, 1.0], seed=1, scale=100)
    documents: Counter[int] = Counter()
    for _ in range(4000):
        corpus = mixture.choose()
        documents[corpus] += 1
        mixture.spend(corpus, (10, 90)[corpus])
    assert abs(mixture.spent[0] / sum(mixture.spent) - 0.75) < 0.01
    assert documents[0] > 20 * documents[1]


def test_lanes_begin_with_different_corpora() -> None:
    firsts = Counter(Mixture([1.0, 1.0, 1.0], seed, scale=1).choose() for seed in range(300))
    assert all(60 < firsts[corpus] < 140 for corpus in range(3))
