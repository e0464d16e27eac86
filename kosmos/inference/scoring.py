"""Candidate scoring: all candidates of a prompt run behind it in one row, blind to each other.

The row is [prompt][candidate 1][candidate 2]...; each candidate's tokens see the prompt and themselves, at the
positions they would have alone. So the prompt is neither read nor copied again, and the sums are those of one pass
per candidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@dataclass
class _Work:
    """A candidate of one prefix: its token ids and, in `sum`, the log-probability of those scored so far."""

    prefix: int
    token_ids: list[int]
    sum: float = 0.0


def score_prefixes(
    engine: Engine, prefixes: Sequence[Prefix], candidates: Sequence[Sequence[str]], include_end: bool
) -> list[list[Score]]:
    """Scores of each prefix's candidates, in order."""
    works: list[list[_Work]] = []
    for index, (prefix, texts) in enumerate(zip(prefixes, candidates)):
        tail = trailing_text(prefix.document)
        works.append([_Work(index, continuation_ids(engine, tail, text, include_end)) for text in texts])
        longest = max((len(work.token_ids) for work in works[-1]), default=0)
        if len(prefix) + longest > engine.max_length:
            raise UsageError(
                f"the prompt ({len(prefix)} tokens) and its longest candidate ({longest}) exceed the limit of "
                f"{engine.max_length} tokens; shorten one of them"
            )
    if not prefixes:
        return []
    log_probs = torch.stack([prefix.last_logits for prefix in prefixes]).log_softmax(-1)
    _score_first_tokens(log_probs, works)
    for rows in _passes(works, [prefix.handle for prefix in prefixes]):
        _score_rest(engine, prefixes, rows)
    return [[Score(work.sum, len(work.token_ids)) for work in row] for row in works]


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
        for work, value in zip(firsts, picked):
            work.sum = value


def _passes(works: Sequence[Sequence[_Work]], handles: Sequence[int]) -> Iterator[list[list[_Work]]]:
    """Candidates of more than one token, as rows of one prefix each, in passes of bounded size."""
    rows: list[list[_Work]] = []
    for row in works:
        current: list[_Work] = []
        size = 0
        for work in row:
            cost = len(work.token_ids) - 1
            if cost < 1:
                continue
            if current and size + cost > _ROW_TOKENS:
                rows.append(current)
                current, size = [], 0
            current.append(work)
            size += cost
        if current:
            rows.append(current)
    waiting = rows
    while waiting:
        chosen: list[list[_Work]] = []
        taken: set[int] = set()
        left: list[list[_Work]] = []
        width = 0
        for row in waiting:
            # One row per prefix and pass: two rows would write to the same slot.
            handle = handles[row[0].prefix]
            wider = max(width, sum(len(work.token_ids) - 1 for work in row))
            if handle in taken or (chosen and wider * (len(chosen) + 1) > _PASS_TOKENS):
                left.append(row)
                continue
            chosen.append(row)
            taken.add(handle)
            width = wider
        yield chosen
        waiting = left


def _score_rest(engine: Engine, prefixes: Sequence[Prefix], rows: list[list[_Work]]) -> None:
    """One forward pass: row b holds some candidates of one prefix; the last token of each needs no pass."""
    by_handle = {prefixes[row[0].prefix].handle: row for row in rows}
    handles = engine.pool.arrange(list(by_handle))
    rows = [by_handle[handle] for handle in handles]
    lengths = [len(prefixes[row[0].prefix]) for row in rows]
    width = max(sum(len(work.token_ids) - 1 for work in row) for row in rows)
    token_ids = torch.full((len(rows), width), engine.processor.tokenizer.pad_id)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    branch = torch.full((len(rows), width), -1)  # which candidate a column belongs to; padding: none
    targets: list[tuple[int, int, int, _Work]] = []  # row, column, the token that follows it, whose it is
    for index, (row, length) in enumerate(zip(rows, lengths)):
        column = 0
        for number, work in enumerate(row):
            inner = work.token_ids[:-1]
            span = slice(column, column + len(inner))
            token_ids[index, span] = torch.tensor(inner)
            positions[index, span] = torch.arange(length, length + len(inner))
            branch[index, span] = number
            targets += [(index, column + k, token, work) for k, token in enumerate(work.token_ids[1:])]
            column += len(inner)
    device = engine.device
    starts = torch.tensor(lengths, device=device)
    uniform = lengths[0] if min(lengths) == max(lengths) else None
    step = engine.pool.step(handles, width, starts, uniform)
    mask = _ancestry(starts, branch.to(device), step.width)
    hidden = engine.forward_step(token_ids.to(device), step.override(positions.to(device), mask))
    at = torch.tensor([target[:3] for target in targets], device=device)
    logits = engine.head(hidden[at[:, 0], at[:, 1]])
    picked = logits.gather(-1, at[:, 2:])[:, 0] - logits.logsumexp(-1)
    for (_, _, _, work), value in zip(targets, picked.tolist()):
        work.sum += value


def _ancestry(starts: Tensor, branch: Tensor, width: int) -> Tensor:
    """bool [B, T, S]: a column of the prompt, or an earlier one (or itself) of the same candidate."""
    num_rows, num_tokens = branch.shape
    columns = torch.arange(width, device=starts.device)
    prompt = (columns < starts[:, None])[:, None, :].expand(num_rows, num_tokens, width)
    same = (branch[:, :, None] == branch[:, None, :]).tril()
    mask = prompt.clone()
    own = starts[:, None] + torch.arange(num_tokens, device=starts.device)  # [B, T]: the columns written
    return mask.scatter(2, own[:, None, :].expand(-1, num_tokens, -1), same)
