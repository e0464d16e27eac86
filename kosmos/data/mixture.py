"""The mixture of corpora within a source: a deterministic order that keeps every share close to its weight."""

from __future__ import annotations

from kosmos.data.permutation import seed_of


class Mixture:
    """Which corpus comes next in one lane: the one furthest behind its share.

    `spent[c]` is what corpus c has had so far (tokens or documents). Each lane starts at a phase of its own, at most
    `scale` large, so that lanes do not all begin with the same corpus.
    """

    def __init__(self, weights: list[float], seed: int, scale: int) -> None:
        total = sum(weights)
        self._weights = [weight / total for weight in weights]
        self._phase = [seed_of(seed, c) / 2.0**64 * scale for c in range(len(weights))]
        self.spent = [0] * len(weights)

    def choose(self) -> int:
        """The corpus to read from next; `spend` says what it cost."""
        return min(range(len(self.spent)), key=lambda c: (self.spent[c] + self._phase[c]) / self._weights[c])

    def spend(self, corpus: int, amount: int) -> None:
        self.spent[corpus] += amount
