"""Near-duplicates: which are found, in what order, and at what similarity."""

from __future__ import annotations

import numpy as np
import pytest

from kosmos.data.web.minhash import NO_WORDS, MinHash, Signatures, band_pairs, later_members
from kosmos.data.web.settings import DuplicateRules
from kosmos.data.web.words import normal_words, run_hashes, word_hashes
from kosmos.errors import ConfigError

RULES = DuplicateRules()


def random_words(seed: int, count: int = 300) -> list[str]:
    return [f"word{number}" for number in np.random.default_rng(seed).integers(0, 5_000, count)]


def near(words: list[str], changes: int, seed: int) -> list[str]:
    changed = list(words)
    for place in np.random.default_rng(seed).choice(len(words), changes, replace=False):
        changed[place] = f"other{place}"
    return changed


def all_pairs(signatures: Signatures) -> np.ndarray:
    return np.unique(np.concatenate([band_pairs(signatures, band, RULES) for band in range(RULES.bands)]), axis=0)


def test_words_and_runs() -> None:
    assert normal_words("Don't PANIC, ﬁrst_things — ½!") == ["don", "t", "panic", "first", "things", "1", "2"]
    hashes = word_hashes(["a", "b", "a", "b"])
    runs = run_hashes(hashes, 2)
    assert runs[0] == runs[2] != runs[1]
    assert len(run_hashes(hashes, 5)) == 0
    assert int(word_hashes(["lamp"])[0]) == 7711560049442028586  # the same on every machine


def test_the_signature_estimates_the_jaccard_similarity() -> None:
    minhash = MinHash(DuplicateRules(bands=100, rows=10))
    left, right = random_words(1), near(random_words(1), 10, 2)
    runs = [{tuple(words[at : at + 5]) for at in range(len(words) - 4)} for words in (left, right)]
    true = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
    estimate = (minhash.signature(" ".join(left)) == minhash.signature(" ".join(right))).mean()
    assert abs(estimate - true) < 0.05


def test_near_duplicates_are_found_across_shards_and_others_are_not() -> None:
    minhash = MinHash(RULES)
    texts = [random_words(seed) for seed in range(60)]
    copies = [near(texts[seed], 2, seed) for seed in range(0, 60, 3)]  # similarity about 0.94
    shards = [
        np.stack([minhash.signature(" ".join(words)) for words in some]) for some in (texts[:25], texts[25:], copies)
    ]
    signatures = Signatures([*shards[:2], np.empty((0, minhash.size), np.uint32), shards[2]])
    assert later_members(all_pairs(signatures).tolist()).tolist() == list(range(60, 80))


def test_similar_texts_below_the_threshold_stay() -> None:
    minhash = MinHash(RULES)
    words = random_words(5)
    both = np.stack([minhash.signature(" ".join(some)) for some in (words, near(words, 40, 6))])  # about 0.3
    assert len(all_pairs(Signatures([both]))) == 0


def test_texts_without_words_are_nobodys_duplicates() -> None:
    minhash = MinHash(RULES)
    rows = np.stack([minhash.signature(text) for text in ("...", "!!!", "one two", "ONE two.")])
    assert (rows[0] == NO_WORDS).all()
    assert all_pairs(Signatures([rows])).tolist() == [[2, 3]]
    assert len(band_pairs(Signatures([rows[:0]]), 0, RULES)) == 0


def test_groups_keep_their_first_member() -> None:
    assert later_members([[4, 9], [9, 11], [2, 11], [5, 6]]).tolist() == [4, 6, 9, 11]
    assert later_members([]).tolist() == []


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="similarity"):
        DuplicateRules(similarity=1.5)
