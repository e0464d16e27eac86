"""Candidate scoring: all candidates of a prompt run behind it in one row, as a tree of their tokens.

A token that several candidates begin with stands there once. Each sees the prompt and its own ancestors, at the
position it would have alone. So the prompt is neither read nor copied again, and the sums are those of one pass per
candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kosmos.document import Document, Text
from kosmos.errors import UsageError
from kosmos.inference.generation import Score
from kosmos.inference.prefix import Prefix

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine

# Candidate tokens in one row of a pass, and in all its rows: bound the mask and the logits.
_ROW_TOKENS = 256
_PASS_TOKENS = 4096
# Columns that scoring writes behind a prompt, but for a candidate that is longer by itself.
MOST_COLUMNS = _ROW_TOKENS


@dataclass
class _Work:
    """A candidate of one prefix: its token ids and, in `sum`, the log-probability of those scored so far.

    `is_greedy`: all of those are the most probable ones.
    """

    prefix: int
    token_ids: list[int]
    sum: float = 0.0
    is_greedy: bool = True


class ScoreLoop:
    """Scores the candidates of some prompts, one bounded pass at a time, so that others may use the engine between.

    The prefixes stay their owners': they must live as long as they are scored for, and be used by none else meanwhile.
    `active`: indices of the prompts whose scores are not complete yet.
    """

    def __init__(
        self, engine: Engine, prefixes: Sequence[Prefix], candidates: Sequence[Sequence[str]], include_end: bool
    ) -> None:
        self._engine = engine
        self._prefixes = list(prefixes)
        self._works: list[list[_Work]] = []
        for index, (prefix, texts) in enumerate(zip(prefixes, candidates)):
            tail = trailing_text(prefix.document)
            self._works.append([_Work(index, continuation_ids(engine, tail, text, include_end)) for text in texts])
            longest = max((len(work.token_ids) for work in self._works[-1]), default=0)
            if len(prefix) + longest > engine.max_length:
                raise UsageError(
                    f"the prompt ({len(prefix)} tokens) and its longest candidate ({longest}) exceed the limit of "
                    f"{engine.max_length} tokens; shorten one of them"
                )
        if prefixes:
            log_probs = torch.stack([prefix.last_logits for prefix in prefixes]).log_softmax(-1)
            _score_first_tokens(log_probs, self._works)
        self._waiting = _trees(self._works)

    @property
    def active(self) -> set[int]:
        return {tree.prefix for tree in self._waiting}

    def advance(self) -> None:
        """One forward pass, over candidates of as many prompts as fit into it."""
        chosen = _next_pass(self._waiting, [prefix.handle for prefix in self._prefixes])
        _score_rest(self._engine, self._prefixes, chosen)
        self._waiting = [tree for tree in self._waiting if tree not in chosen]

    def drop(self, index: int) -> None:
        """Nobody wants the scores of this prompt any more; harmless when they are complete."""
        self._waiting = [tree for tree in self._waiting if tree.prefix != index]

    def result(self, index: int) -> list[Score]:
        """Scores of a prompt's candidates, in order, once it is not active any more."""
        return [Score(work.sum, len(work.token_ids), work.is_greedy) for work in self._works[index]]


def score_prefixes(
    engine: Engine, prefixes: Sequence[Prefix], candidates: Sequence[Sequence[str]], include_end: bool
) -> list[list[Score]]:
    """Scores of each prefix's candidates, in order."""
    loop = ScoreLoop(engine, prefixes, candidates, include_end)
    while loop.active:
        loop.advance()
    return [loop.result(index) for index in range(len(prefixes))]


def trailing_text(document: Document) -> list[Text]:
    """The Text segments at the end of a prompt: the part that is tokenized together with what follows."""
    tail: list[Text] = []
    for segment in reversed(document.segments):
        if not isinstance(segment, Text):
            break
        tail.insert(0, Text(segment.text, supervised=False))
    return tail


def continuation_ids(engine: Engine, tail: Sequence[Text], text: str, include_end: bool) -> list[int]:
    """Ids of `text` where it follows the prompt that ends in `tail`, tokenized together with it as in training."""
    encoded = engine.processor.encode(Document(*tail, Text(text, supervised=True)), start=False, end=include_end)
    return list(encoded.token_ids[encoded.supervised].tolist())


def _score_first_tokens(log_probs: Tensor, works: Sequence[Sequence[_Work]]) -> None:
    """The first token of every candidate follows the prompt itself, whose logits are there already."""
    firsts = [work for row in works for work in row if work.token_ids]
    if firsts:
        picked = log_probs[[work.prefix for work in firsts], [work.token_ids[0] for work in firsts]].tolist()
        best = log_probs.argmax(-1).tolist()
        for work, value in zip(firsts, picked):
            work.sum = value
            work.is_greedy = best[work.prefix] == work.token_ids[0]


class _Tree:
    """Tokens of some candidates of one prompt, each but the last of a candidate as a column of the row."""

    def __init__(self, prefix: int) -> None:
        self.prefix = prefix
        self.tokens: list[int] = []
        self.parents: list[int] = []  # columns of this tree; -1: the prompt
        self.targets: list[tuple[int, int, _Work]] = []  # column, the token that follows it, whose it is
        self._places: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def missing(self, work: _Work) -> int:
        """Columns that adding this candidate would make."""
        parent = -1
        for depth, token in enumerate(work.token_ids[:-1]):
            place = self._places.get((parent, token))
            if place is None:
                return len(work.token_ids) - 1 - depth
            parent = place
        return 0

    def add(self, work: _Work) -> None:
        parent = -1
        for token, following in zip(work.token_ids, work.token_ids[1:]):
            place = self._places.get((parent, token))
            if place is None:
                place = self._places[parent, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(parent)
            self.targets.append((place, following, work))
            parent = place

    def depths(self) -> list[int]:
        """How many ancestors each column has."""
        found: list[int] = []
        for parent in self.parents:
            found.append(0 if parent < 0 else found[parent] + 1)
        return found

    def ancestry(self, width: int) -> Tensor:
        """bool [width, width]: which column sees which; each sees its ancestors and itself."""
        seen = torch.zeros(width, width, dtype=torch.bool)
        for column, parent in enumerate(self.parents):
            if parent >= 0:
                seen[column] = seen[parent]
            seen[column, column] = True
        return seen


def _trees(works: Sequence[Sequence[_Work]]) -> list[_Tree]:
    """Candidates of more than one token, as trees of one prompt each, of bounded size."""
    made: list[_Tree] = []
    for row in works:
        current: _Tree | None = None
        # Sorted, so that those with a common beginning are neighbours.
        for work in sorted((work for work in row if len(work.token_ids) > 1), key=lambda work: work.token_ids):
            if current is None or (len(current) and len(current) + current.missing(work) > _ROW_TOKENS):
                current = _Tree(work.prefix)
                made.append(current)
            current.add(work)
    return made


def _next_pass(waiting: Sequence[_Tree], handles: Sequence[int]) -> list[_Tree]:
    """The trees that run next together."""
    chosen: list[_Tree] = []
    taken: set[int] = set()
    width = 0
    for tree in waiting:
        # One row per prefix and pass: two rows would write to the same slot.
        handle, wider = handles[tree.prefix], max(width, len(tree))
        if handle in taken or (chosen and wider * (len(chosen) + 1) > _PASS_TOKENS):
            continue
        chosen.append(tree)
        taken.add(handle)
        width = wider
    return chosen


def _score_rest(engine: Engine, prefixes: Sequence[Prefix], trees: list[_Tree]) -> None:
    """One forward pass: row b holds some candidates of one prefix; the last token of each needs no pass."""
    by_handle = {prefixes[tree.prefix].handle: tree for tree in trees}
    handles = engine.pool.arrange(list(by_handle))
    trees = [by_handle[handle] for handle in handles]
    lengths = [len(prefixes[tree.prefix]) for tree in trees]
    width = max(len(tree) for tree in trees)
    token_ids = torch.full((len(trees), width), engine.processor.tokenizer.pad_id)
    positions = torch.zeros(len(trees), width, dtype=torch.long)
    for index, (tree, length) in enumerate(zip(trees, lengths)):
        token_ids[index, : len(tree)] = torch.tensor(tree.tokens)
        positions[index, : len(tree)] = length + torch.tensor(tree.depths())
    device = engine.device
    starts = torch.tensor(lengths, device=device)
    uniform = lengths[0] if min(lengths) == max(lengths) else None
    step = engine.pool.step(handles, width, starts, uniform)
    mask = _visible(starts, torch.stack([tree.ancestry(width) for tree in trees]).to(device), step.width)
    hidden = engine.forward_step(token_ids.to(device), step.override(positions.to(device), mask))
    targets = [(index, *target) for index, tree in enumerate(trees) for target in tree.targets]
    at = torch.tensor([target[:3] for target in targets], device=device)
    # Logits once for each column, however many candidates go on from it.
    places, which = torch.unique(at[:, :2], dim=0, return_inverse=True)
    log_probs = engine.head(hidden[places[:, 0], places[:, 1]]).log_softmax(-1)
    values, best = log_probs[which, at[:, 2]].tolist(), log_probs.argmax(-1)[which].tolist()
    for (*_, following, work), value, likeliest in zip(targets, values, best):
        work.sum += value
        work.is_greedy &= likeliest == following


def _visible(starts: Tensor, ancestry: Tensor, width: int) -> Tensor:
    """bool [B, T, S]: the columns of the prompt, and those of `ancestry` [B, T, T] behind it."""
    _, num_tokens, _ = ancestry.shape
    columns = torch.arange(width, device=starts.device)
    mask = (columns < starts[:, None])[:, None, :].repeat(1, num_tokens, 1)
    own = starts[:, None] + torch.arange(num_tokens, device=starts.device)  # [B, T]: the columns written
    return mask.scatter_(2, own[:, None, :].expand(-1, num_tokens, -1), ancestry)
