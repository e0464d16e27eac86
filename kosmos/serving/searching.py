"""Beam searches beside the live batch, a step of each at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from kosmos.inference.beams import BeamLoop
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Generation
from kosmos.inference.prefix import Prefix
from kosmos.serving.asks import Ask, Finished, TokenScore
from kosmos.serving.recovery import recover

Fail = Callable[[Ask, Exception], None]
Job = tuple[Ask, Prefix]

# Searches advanced between two steps of the rows that decode: neither kind can starve the other.
_MOST_STEPS = 4


class _Search:
    """Requests with the same number of beams that began together."""

    def __init__(self, engine: Engine, jobs: Sequence[Job]) -> None:
        self.jobs = list(jobs)
        tries = [engine.tries.of(prefix, ask.names) if ask.names else None for ask, prefix in jobs]
        self.loop = BeamLoop(engine, [(prefix, ask.options, trie) for (ask, prefix), trie in zip(jobs, tries)])
        self.untold = set(range(len(jobs)))


class Searcher:
    """Keeps the searches that are under way."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._searches: list[_Search] = []

    def begin(self, jobs: Sequence[Job]) -> None:
        """Search for prompts with the same number of beams, together."""
        self._searches.append(_Search(self._engine, jobs))

    def leave(self, ask: Ask) -> None:
        """Search no further for it; harmless when nothing is searched."""
        for search in self._searches:
            for index in [i for i in search.untold if search.jobs[i][0] is ask]:
                search.untold.discard(index)
                if index in search.loop.active:
                    search.loop.drop(index)
        self._searches = [search for search in self._searches if search.untold]

    def step(self, fail: Fail) -> list[Ask]:
        """One more token for every beam of the searches whose turn it is; the requests that are complete with it."""
        complete: list[Ask] = []
        turn, self._searches = self._searches[:_MOST_STEPS], self._searches[_MOST_STEPS:] + self._searches[:_MOST_STEPS]
        for search in turn:
            try:
                with torch.inference_mode():
                    search.loop.advance()
            except Exception as error:
                self._break(search, error, fail)
                continue
            for index in sorted(search.untold - set(search.loop.active)):
                ask, _ = search.jobs[index]
                for choice, made in enumerate(search.loop.result(index).all):
                    ask.listener(Finished(choice, made, self._tokens(ask, made)))
                complete.append(ask)
        return complete

    def _break(self, search: _Search, error: Exception, fail: Fail) -> None:
        """Begin again in halves, because a step that failed cannot be taken back; one that fails alone is refused."""
        jobs = [search.jobs[index] for index in sorted(search.untold)]
        self._searches.remove(search)
        if len(jobs) == 1:
            fail(jobs[0][0], error)
            return
        recover(self._engine, error)
        half = len(jobs) // 2
        self.begin(jobs[:half])
        self.begin(jobs[half:])

    def _tokens(self, ask: Ask, made: Generation) -> tuple[TokenScore, ...]:
        if ask.top is None:
            return ()
        decode, end_id = self._engine.processor.decode, self._engine.processor.tokenizer.eos_id
        ids = [token for token in made.token_ids if token != end_id]
        starts = [len(decode(ids[:count])) for count in range(len(ids) + 1)]
        return tuple(
            TokenScore(token, log_prob, start)
            for token, log_prob, (start, _) in zip(ids, made.log_probs, pairwise(starts))
            if start < len(made.text)
        )
