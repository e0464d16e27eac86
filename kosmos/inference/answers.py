"""What came out, as JSON: generations, and candidates in the order of their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kosmos.errors import DataError
from kosmos.inference.generation import Generation, Score

RankBy = Literal["sum", "mean", "per_character"]


def generation_fields(generation: Generation, ranked: bool = False) -> dict[str, Any]:
    """A generation without what it has not: `others` only where there are any, `score` only if `ranked` (beams)."""
    fields: dict[str, Any] = {
        "text": generation.text,
        "token_ids": list(generation.token_ids),
        "log_probs": list(generation.log_probs),
        "finish_reason": generation.finish_reason,
    }
    if ranked:
        fields["score"] = generation.score
    if generation.others:
        fields["others"] = [generation_fields(other, ranked) for other in generation.others]
    return fields


@dataclass(frozen=True)
class Ranked:
    """A candidate with its score; `probability` is its share among the candidates by their sums."""

    candidate: str
    score: Score
    probability: float

    @property
    def per_character(self) -> float:
        """Log-probability per character, white space around the candidate not counted."""
        return self.score.sum / max(1, len(self.candidate.strip()))

    @property
    def fields(self) -> dict[str, Any]:
        """As JSON; the candidate without white space around it."""
        return {
            "candidate": self.candidate.strip(),
            "sum": self.score.sum,
            "num_tokens": self.score.num_tokens,
            "mean": self.score.mean,
            "per_character": self.per_character,
            "probability": self.probability,
        }


_VALUES: dict[RankBy, Callable[[Ranked], float]] = {
    "sum": lambda ranked: ranked.score.sum,
    "mean": lambda ranked: ranked.score.mean,
    "per_character": lambda ranked: ranked.per_character,
}


def rank(candidates: Sequence[str], scores: Sequence[Score], by: RankBy = "sum") -> list[Ranked]:
    """Candidates of one prompt, best first; equal ones keep their order. Raises DataError for scores that are none."""
    if not all(math.isfinite(score.sum) for score in scores):
        raise DataError("a candidate's log-probability is not a number: the weights are damaged or have diverged")
    if (empty := next((text for text, score in zip(candidates, scores) if not score.num_tokens), None)) is not None:
        raise DataError(f"the candidate {empty!r} has no tokens and would win for nothing; leave it out")
    top = max(score.sum for score in scores)
    shares = [math.exp(score.sum - top) for score in scores]
    total = math.fsum(shares)
    made = [Ranked(text, score, share / total) for text, score, share in zip(candidates, scores, shares)]
    return sorted(made, key=_VALUES[by], reverse=True)


def score_fields(candidates: Sequence[str], scores: Sequence[Score], by: RankBy = "sum") -> dict[str, Any]:
    """The best candidate, and sums and numbers of tokens in the order of the candidates: all else follows from them."""
    return {
        "best": rank(candidates, scores, by)[0].candidate.strip(),
        "sums": [score.sum for score in scores],
        "num_tokens": [score.num_tokens for score in scores],
    }
