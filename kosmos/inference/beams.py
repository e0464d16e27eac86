"""Beam search: the beams of a prompt are rows of one sequence, told apart by who descends from whom.

Step n writes one column per beam behind the prompt. A beam sees the prompt and the columns of its own ancestors, so
that keys and values are never copied when beams change places, and the prompt is there once. Results are those of
transformers' beam search, token for token, with its length penalty and its three ways to stop early.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kosmos.inference.generation import Decoding, FinishReason, Generation
from kosmos.inference.names import NameTrie
from kosmos.inference.prefix import Prefix

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine


@dataclass(frozen=True)
class _Path:
    """A beam's tokens, as its last one and the path before it. `node`: where it stands in the trie of names."""

    before: _Path | None
    token: int
    log_prob: float
    total: float
    node: int = 0

    def tokens(self) -> tuple[list[int], list[float]]:
        path: _Path | None = self
        ids, log_probs = [], []
        while path is not None:
            ids.append(path.token)
            log_probs.append(path.log_prob)
            path = path.before
        return ids[::-1], log_probs[::-1]


@dataclass(frozen=True)
class _Finished:
    score: float
    path: _Path
    reason: FinishReason
    text: str | None = None  # only where a stop string cut it


class _Search:
    """The beams of one prompt: those open, those finished, and whether to go on."""

    def __init__(
        self, option: Decoding, limit: int, end_id: int, decode: Callable[[Sequence[int]], str], trie: NameTrie | None
    ) -> None:
        self._option = option
        self._limit = limit
        self._end_id = end_id
        self._decode = decode
        self.trie = trie
        self.open: list[_Path | None] = [None]  # None: the prompt itself
        self.finished: list[_Finished] = []
        self.done = False
        self._length = 0

    @property
    def nodes(self) -> list[int]:
        return [path.node if path else 0 for path in self.open]

    def advance(self, candidates: list[tuple[int, int, float, float]]) -> list[int]:
        """Take the best continuations (beam, token, log-prob, total), best first; the beams that the new ones continue.

        Twice as many candidates as beams: at most half of them end with `</s>`, so enough are left to go on.
        """
        option, self._length = self._option, self._length + 1
        full = len(self.finished) == option.num_beams
        going: list[tuple[int, _Path]] = []
        ended: list[_Finished] = []
        for rank, (beam, token, log_prob, total) in enumerate(candidates):
            if total == -math.inf:  # forbidden, or not in the trie
                continue
            before = self.open[beam]
            node = 0 if self.trie is None else self.trie.child(before.node if before else 0, token)
            path = _Path(before, token, log_prob, total, node)
            reason, text = self._ending(path)
            if reason is None:
                going.append((beam, path))
            elif rank < option.num_beams and not (full and option.early_stopping is True):
                ended.append(_Finished(total / self._length**option.length_penalty, path, reason, text))
        if ended:
            self.finished = sorted(self.finished + ended, key=lambda f: -f.score)[: option.num_beams]
        going = going[: option.num_beams]
        self.open = [path for _, path in going]
        self.done = not going or not self._can_improve()
        return [beam for beam, _ in going]

    def _ending(self, path: _Path) -> tuple[FinishReason | None, str | None]:
        if path.token == self._end_id:
            return "end", None
        if self._option.stop and self.trie is None and self._length >= self._option.min_new_tokens:
            tokens = path.tokens()[0]
            text = self._decode(tokens)
            # One that was complete too early does not act, then or later.
            early = len(self._decode(tokens[: max(0, self._option.min_new_tokens - 1)]))
            stops = self._option.stop
            places = [place for stop in stops if (place := text.find(stop, max(0, early - len(stop) + 1))) >= 0]
            if places:
                return "stop", text[: min(places)]
        return ("length", None) if self._length == self._limit else (None, None)

    def _can_improve(self) -> bool:
        option = self._option
        if len(self.finished) < option.num_beams:
            return True
        if option.early_stopping is True:
            return False
        # With a reward for length, the best that an open beam may become is itself at its longest.
        longest = option.early_stopping == "never" and option.length_penalty > 0
        best = self.open[0]
        assert best is not None
        possible = best.total / (self._limit if longest else self._length) ** option.length_penalty
        return possible > self.finished[-1].score


class BeamLoop:
    """Several prompts searched together; all have the same number of beams. Finished ones leave the batch."""

    def __init__(self, engine: Engine, jobs: Sequence[tuple[Prefix, Decoding, NameTrie | None]]) -> None:
        prefixes = [prefix for prefix, _, _ in jobs]
        options = [option for _, option, _ in jobs]
        tokenizer = engine.processor.tokenizer
        self._engine = engine
        self._end_id = tokenizer.eos_id
        self._options = options
        self._num_beams = options[0].num_beams
        self._handles = [prefix.handle for prefix in prefixes]
        self._row_of = {handle: row for row, handle in enumerate(self._handles)}
        self._lengths = [len(prefix) for prefix in prefixes]
        limits = [
            min(option.max_new_tokens if trie is None else trie.max_length, engine.max_length - len(prefix))
            for prefix, option, trie in jobs
        ]
        self._searches = [
            _Search(option, limit, self._end_id, engine.processor.decode, trie)
            for (_, option, trie), limit in zip(jobs, limits)
        ]
        self._num_steps = 0
        self.active = list(range(len(prefixes)))
        self._logits = torch.stack([prefix.last_logits for prefix in prefixes])[:, None]  # [B, beams, V]
        columns = max(n + self._num_beams * (limit - 1) for n, limit in zip(self._lengths, limits))
        starts = torch.tensor(self._lengths, device=engine.device)
        # Who sees which column, per prompt and beam; the columns behind the prompt are filled in step by step.
        prompt = torch.arange(columns, device=engine.device) < starts[:, None]
        self._visible = prompt[:, None].repeat(1, self._num_beams, 1)  # bool [prompts, beams, S]

    def advance(self) -> None:
        """Choose the next token of every beam, and run the model on the prompts that go on."""
        rows = self.active
        chosen = self._candidates(rows)
        self._num_steps += 1
        going: list[int] = []
        parents: list[list[int]] = []
        for row, candidates in zip(rows, chosen):
            search = self._searches[row]
            continued = search.advance(candidates)
            if not search.done:
                going.append(row)
                # A prompt with fewer open beams than the others repeats one of them; nobody looks at the result.
                parents.append(continued + continued[-1:] * (self._num_beams - len(continued)))
        self.active = going
        if going:
            self._step(dict(zip(going, parents)))

    def drop(self, row: int) -> None:
        """Search no further for a prompt that is active: nobody wants its answer any more."""
        place = self.active.index(row)
        self.active = self.active[:place] + self.active[place + 1 :]
        self._logits = torch.cat((self._logits[:place], self._logits[place + 1 :]))

    def _candidates(self, rows: list[int]) -> list[list[tuple[int, int, float, float]]]:
        """(beam, token, log-prob, total) of the best continuations of each prompt, best first."""
        searches = [self._searches[row] for row in rows]
        norms = self._logits.logsumexp(-1, keepdim=True)
        allowed = self._logits.masked_fill(self._forbidden(rows), -torch.inf)
        width, count = allowed.shape[1], min(2 * self._num_beams, allowed.shape[-1])
        values, tokens = allowed.topk(count, dim=-1)  # [B, beams, 2 K]
        values = values - norms
        totals = [[path.total if path else 0.0 for path in search.open] for search in searches]
        open_beams = [row + [-math.inf] * (width - len(row)) for row in totals]
        sums = (values + torch.tensor(open_beams, device=values.device)[..., None]).flatten(1)
        best, places = sums.topk(min(2 * self._num_beams, sums.shape[1]), dim=-1)
        picked = zip(
            (places // count).tolist(),
            tokens.flatten(1).gather(1, places).tolist(),
            values.flatten(1).gather(1, places).tolist(),
            best.tolist(),
        )
        return [list(zip(*lists)) for lists in picked]

    def _forbidden(self, rows: list[int]) -> Tensor:
        """bool [B or 1, beams or 1, V]: what may not come next."""
        forbidden = self._engine.forbidden
        early = [self._num_steps < self._options[row].min_new_tokens for row in rows]
        tries = any(self._searches[row].trie is not None for row in rows)
        if not tries and all(early):
            forbidden = forbidden.clone()
            forbidden[self._end_id] = True
        if not tries and all(early) == any(early):
            return forbidden[None, None]
        mask = forbidden.repeat(len(rows), self._logits.shape[1], 1)
        for index, row in enumerate(rows):
            search = self._searches[row]
            if early[index]:
                mask[index, :, self._end_id] = True
            if search.trie is not None:
                for beam, node in enumerate(search.nodes):
                    allowed = search.trie.tokens(node)
                    mask[index, beam] = True
                    mask[index, beam, allowed] = False
        return mask

    def _step(self, parents: dict[int, list[int]]) -> None:
        engine, beams = self._engine, self._num_beams
        handles = engine.pool.arrange([self._handles[row] for row in self.active])
        self.active = [self._row_of[handle] for handle in handles]
        device = engine.device
        written = beams * (self._num_steps - 1)  # columns behind the prompt that earlier steps have filled
        firsts = [self._lengths[row] + written for row in self.active]
        starts = torch.tensor(firsts, device=device)
        uniform = firsts[0] if min(firsts) == max(firsts) else None
        step = engine.pool.step(handles, beams, starts, uniform)
        paths = [self._searches[row].open for row in self.active]
        token_ids = [[path.token for path in row if path] for row in paths]
        ids = torch.tensor([row + row[-1:] * (beams - len(row)) for row in token_ids], device=device)
        depths = torch.tensor([self._lengths[row] + self._num_steps - 1 for row in self.active], device=device)
        mask = self._descend(torch.tensor([parents[row] for row in self.active], device=device), starts, step.width)
        hidden = engine.forward_step(ids, step.override(depths[:, None].expand(-1, beams), mask))
        self._logits = engine.head(hidden)

    def _descend(self, parents: Tensor, starts: Tensor, width: int) -> Tensor:
        """bool [B, beams, S]: each new beam sees what its parent saw, and its own column."""
        beams = self._num_beams
        rows = torch.tensor(self.active, device=parents.device)
        seen = self._visible[rows[:, None], parents]
        own = starts[:, None] + torch.arange(beams, device=parents.device)  # [B, beams]
        seen.scatter_(2, own[:, :, None], True)
        self._visible[rows] = seen
        return seen[:, :, :width]

    def result(self, row: int) -> Generation:
        """The best finished beams of a prompt that is done."""
        search = self._searches[row]
        made = [self._generation(found, search.trie) for found in search.finished[: self._options[row].num_results]]
        best = made[0]
        return Generation(best.text, best.token_ids, best.log_probs, best.finish_reason, best.score, tuple(made[1:]))

    def _generation(self, found: _Finished, trie: NameTrie | None) -> Generation:
        ids, log_probs = found.path.tokens()
        text = self._engine.processor.decode(ids) if found.text is None else found.text
        if trie is not None and found.reason == "end":
            text = trie.name(found.path.node)
        return Generation(text, tuple(ids), tuple(log_probs), found.reason, found.score)
