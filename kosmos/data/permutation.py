"""A seeded permutation of any size that needs no memory: a Feistel network walked until it lands in range."""

from __future__ import annotations

_MASK64 = (1 << 64) - 1
_ROUNDS = 4


def mix(value: int) -> int:
    """A 64-bit hash of a 64-bit number (the finaliser of splitmix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)


def seed_of(*parts: int) -> int:
    """One 64-bit seed from several numbers; every part and their order matter."""
    value = 0
    for part in parts:
        value = mix(value ^ mix(part & _MASK64))
    return value


class Permutation:
    """A bijection on range(size), fixed by `seed`."""

    def __init__(self, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError(f"a permutation needs at least one element, not {size}")
        self.size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._mask = (1 << self._half) - 1
        self._keys = [seed_of(seed, number) for number in range(_ROUNDS)]

    def __call__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is outside of range({self.size})")
        # The network permutes the next larger power of 4; walking its cycle stays a bijection on range(size).
        while True:
            left, right = index >> self._half, index & self._mask
            for key in self._keys:
                left, right = right, left ^ (mix(right ^ key) & self._mask)
            index = (left << self._half) | right
            if index < self.size:
                return index
