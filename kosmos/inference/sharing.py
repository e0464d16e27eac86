"""Shared beginnings: prompts that start alike are read together up to where they part.

Few-shot demonstrations, the questions of one picture and the candidates of a Raven matrix repeat most of their tokens;
each shared stretch is run once, copied, and continued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# A stretch worth a pass of its own and the copies of its keys and values.
MIN_SHARED = 32


@dataclass(frozen=True)
class Stretch:
    """Tokens start..end that all `members` (indices of prompts) have in common, at `depth` passes from the root."""

    start: int
    end: int
    members: tuple[int, ...]
    depth: int


def identities(token_ids: np.ndarray, inputs: Sequence[tuple[int, int, str]], contents: dict[str, int]) -> np.ndarray:
    """Ids int64 [T] that are equal where the model would see the same: slots are told apart by content and place.

    `inputs`: (start, number of slots, content) of each picture; `contents` numbers the contents seen so far.
    """
    ids = token_ids.astype(np.int64, copy=True)
    for start, num_slots, content in inputs:
        number = contents.setdefault(content, len(contents))
        ids[start : start + num_slots] = -1 - (number << 20) - np.arange(num_slots)
    return ids


def common_length(a: np.ndarray, b: np.ndarray) -> int:
    """How many elements two arrays have in common from the start."""
    size = min(len(a), len(b))
    different = np.flatnonzero(a[:size] != b[:size])
    return int(different[0]) if len(different) else size


def stretches(prompts: Sequence[np.ndarray], min_shared: int = MIN_SHARED) -> list[Stretch]:
    """Cut prompts into stretches, parents before children. The last token of every prompt is in one of its own.

    Each prompt is covered by the chain of stretches that it is a member of; a stretch of one member ends it.
    """
    order = sorted(range(len(prompts)), key=lambda index: prompts[index].tolist())
    # What a prompt shares with its neighbour; its own last token is run anyway, for the logits behind it.
    shared = [
        min(common_length(prompts[a], prompts[b]), len(prompts[a]) - 1, len(prompts[b]) - 1) for a, b in pairwise(order)
    ]
    found = list(_split(prompts, order, shared, 0, 0, min_shared))
    return sorted(found, key=lambda stretch: stretch.depth)


def _split(
    prompts: Sequence[np.ndarray], order: Sequence[int], shared: Sequence[int], start: int, depth: int, min_shared: int
) -> Iterator[Stretch]:
    """Stretches of `order` (sorted prompts that are alike up to `start`); `shared` belongs to its neighbours."""
    first = 0
    for place in range(1, len(order) + 1):
        if place < len(order) and shared[place - 1] - start >= min_shared:
            continue
        group, between = order[first:place], shared[first : place - 1]
        if len(group) == 1:
            yield Stretch(start, len(prompts[group[0]]), (group[0],), depth)
        else:
            end = min(between)
            yield Stretch(start, end, tuple(group), depth)
            yield from _split(prompts, group, between, end, depth + 1, min_shared)
        first = place


def batches(prompts: Sequence[np.ndarray], rows_that_fit: Callable[[int], int], token_budget: int) -> list[list[int]]:
    """Indices of prompts in batches: those with a shared beginning together, else of similar length, longest first.

    `rows_that_fit` says how many prompts may be together when the longest has so many tokens; `token_budget` bounds the
    tokens that a batch has to run. At least one prompt a batch.
    """
    order = sorted(range(len(prompts)), key=lambda index: prompts[index].tolist())
    families: list[list[int]] = []
    shared_of: dict[int, int] = {}  # tokens that the prompt before it in its family has run already
    for place, index in enumerate(order):
        shared = common_length(prompts[order[place - 1]], prompts[index]) if place else 0
        if shared >= MIN_SHARED:
            families[-1].append(index)
            shared_of[index] = shared
        else:
            families.append([index])
    families.sort(key=lambda family: (-max(len(prompts[index]) for index in family), family[0]))
    made: list[list[int]] = []
    tokens = longest = 0
    for index in (index for family in families for index in family):
        own = len(prompts[index]) - (shared_of.get(index, 0) if made and made[-1] else 0)
        longest = max(longest, len(prompts[index]))
        if not made or len(made[-1]) >= rows_that_fit(longest) or tokens + own > token_budget:
            made.append([])
            own = longest = len(prompts[index])
            tokens = 0
        made[-1].append(index)
        tokens += own
    return made
