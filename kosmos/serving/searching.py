"""Beam searches and scores beside the live batch, and the events that they end in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from kosmos.inference.beams import BeamLoop
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Generation
from kosmos.inference.scoring import ScoreLoop
from kosmos.serving.asks import Ask, Finished, Scored, TokenScore
from kosmos.serving.loops import Job, Loops
from kosmos.serving.metrics import Metrics

# Searches advanced between two steps of the rows that decode.
_MOST_SEARCHES = 4


def searches(engine: Engine, metrics: Metrics) -> Loops[BeamLoop]:
    """Beam searches; those that begin together have the same number of beams."""

    def make(jobs: Sequence[Job]) -> BeamLoop:
        tries = [engine.tries.of(prefix, ask.names) if ask.names else None for ask, prefix in jobs]
        return BeamLoop(engine, [(prefix, ask.options, trie) for (ask, prefix), trie in zip(jobs, tries)])

    def tell(loop: BeamLoop, index: int, ask: Ask) -> None:
        for choice, made in enumerate(loop.result(index).all):
            metrics.generated(len(made.token_ids))
            ask.listener(Finished(choice, made, _tokens(engine, ask, made)))

    return Loops(engine, make, tell, _MOST_SEARCHES)


def scores(engine: Engine) -> Loops[ScoreLoop]:
    """Candidates; those that begin together all count their ends, or none does."""

    def make(jobs: Sequence[Job]) -> ScoreLoop:
        prefixes, candidates = [prefix for _, prefix in jobs], [ask.candidates for ask, _ in jobs]
        with torch.inference_mode():
            return ScoreLoop(engine, prefixes, candidates, jobs[0][0].include_end)

    def tell(loop: ScoreLoop, index: int, ask: Ask) -> None:
        ask.listener(Scored(tuple(loop.result(index))))

    return Loops(engine, make, tell, 1)


def _tokens(engine: Engine, ask: Ask, made: Generation) -> tuple[TokenScore, ...]:
    if ask.top is None:
        return ()
    decode, end_id = engine.processor.decode, engine.processor.tokenizer.eos_id
    ids = [token for token in made.token_ids if token != end_id]
    starts = [len(decode(ids[:count])) for count in range(len(ids) + 1)]
    return tuple(
        TokenScore(token, log_prob, start)
        for token, log_prob, (start, _) in zip(ids, made.log_probs, pairwise(starts))
        if start < len(made.text)
    )
