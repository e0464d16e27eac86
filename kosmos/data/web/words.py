"""Words and their hashed runs: what near-duplicates and overlap with evaluation data are found by."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata

import numpy as np

_WORD = re.compile(r"\w+")
_FACTOR = 0x9E3779B97F4A7C15  # odd, so that no factor loses bits


def normal_words(text: str) -> list[str]:
    """Words in lower case without punctuation; NFKC, so that typographic forms are equal."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("_", " "))


def word_hashes(words: list[str]) -> np.ndarray:
    """uint64 [words]; the same word has the same hash on every machine."""
    return np.fromiter((_hash(word) for word in words), np.uint64, len(words))


def run_hashes(hashes: np.ndarray, length: int) -> np.ndarray:
    """uint64 [max(words - length + 1, 0)]: a hash of each run of `length` words."""
    count = len(hashes) - length + 1
    if count < 1:
        return np.empty(0, np.uint64)
    mixed = np.zeros(count, np.uint64)
    factor = np.uint64(_FACTOR)
    for place in range(length):  # unsigned arithmetic wraps around, as hashing wants
        mixed = mixed * factor + hashes[place : place + count]
    return _mix(mixed)


def _mix(values: np.ndarray) -> np.ndarray:
    """Spread every bit over all (the finaliser of MurmurHash3)."""
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xFF51AFD7ED558CCD)
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


@functools.lru_cache(maxsize=1 << 18)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
