"""Continuing prompts: which loop runs what, further draws beside the first, names to tries, streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from kosmos.errors import UsageError
from kosmos.inference.beams import BeamLoop
from kosmos.inference.generation import Decoding, Generation
from kosmos.inference.live_batch import LiveBatch
from kosmos.inference.names import NameTrie
from kosmos.inference.prefix import Prefix
from kosmos.inference.scoring import continuation_ids, trailing_text

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine

# Tries of names kept, one for each text that a prompt may end with.
_MAX_TRIES = 64


def decode(
    engine: Engine, prefixes: Sequence[Prefix], options: Sequence[Decoding], names: Sequence[str] | None
) -> list[Generation]:
    """See `Engine.decode`."""
    if len(prefixes) != len(options):
        raise UsageError(f"{len(prefixes)} prefixes, but {len(options)} decodings")
    if names is not None and any(option.temperature > 0 for option in options):
        raise UsageError("a name is searched for, not drawn; leave out temperature")
    engine.check_own(prefixes)
    handles = [prefix.handle for prefix in prefixes]
    if len(set(handles)) < len(handles):
        raise UsageError("the same prefix is there twice; fork() it to continue it in two ways at once")
    made: dict[int, Generation] = {}
    beams: dict[int, list[int]] = {}
    for index, option in enumerate(options):
        if option.num_beams > 1 or names is not None:
            beams.setdefault(option.num_beams, []).append(index)
    tries = [None if names is None else engine.tries.of(prefix, tuple(names)) for prefix in prefixes]
    for chosen in beams.values():
        searched = _search(engine, [(prefixes[i], options[i], tries[i]) for i in chosen])
        made.update(zip(chosen, searched))
    plain = [index for index in range(len(prefixes)) if index not in made]
    made.update(zip(plain, _continue(engine, [prefixes[i] for i in plain], [options[i] for i in plain])))
    return [made[index] for index in range(len(prefixes))]


def stream(engine: Engine, prefix: Prefix, options: Decoding) -> Iterator[str]:
    """Text deltas of one continuation."""
    if options.num_beams > 1:  # which beam wins is known at the end only
        yield engine.decode([prefix], [options])[0].text
        return
    # A fork, because the caller may use the prefix between two deltas.
    with prefix.fork() as own:
        batch = LiveBatch(engine)
        row = batch.join(own, options, stream=True)
        while batch.rows:
            batch.advance()
            delta = row.take_delta()
            if delta:
                yield delta


def _search(engine: Engine, jobs: Sequence[tuple[Prefix, Decoding, NameTrie | None]]) -> list[Generation]:
    """Beam search of prompts with the same number of beams."""
    loop = BeamLoop(engine, jobs)
    with torch.inference_mode():
        while loop.active:
            loop.advance()
        return [loop.result(row) for row in range(len(jobs))]


def _continue(engine: Engine, prefixes: Sequence[Prefix], options: Sequence[Decoding]) -> list[Generation]:
    """Greedy or drawn continuations; further draws run beside the first ones while slots are free."""
    most = max((option.num_results for option in options), default=0)
    waiting = [(row, draw) for draw in range(most) for row, o in enumerate(options) if draw < o.num_results]
    results: dict[tuple[int, int], Generation] = {}
    while waiting:
        jobs: dict[tuple[int, int], Prefix] = {}
        forks: list[Prefix] = []
        used: set[int] = set()
        try:
            for row, draw in waiting:
                if row not in used:
                    used.add(row)
                    jobs[row, draw] = prefixes[row]
                elif engine.pool.num_free:
                    forks.append(prefixes[row].fork())
                    jobs[row, draw] = forks[-1]
            batch = LiveBatch(engine)
            rows = {job: batch.join(prefix, options[job[0]].of_draw(job[1])) for job, prefix in jobs.items()}
            while batch.rows:
                batch.advance()
        finally:
            for fork in forks:
                fork.free()
        results.update((job, row.result()) for job, row in rows.items())
        waiting = [job for job in waiting if job not in results]
    return [
        replace(results[row, 0], others=tuple(results[row, draw] for draw in range(1, option.num_results)))
        for row, option in enumerate(options)
    ]


class NameTries:
    """Tries of lists of names, as their tokens follow a prompt's last text; kept for the next prompt."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[tuple[tuple[str, ...], tuple[str, ...]], NameTrie] = {}

    def __len__(self) -> int:
        return len(self._held)

    def of(self, prefix: Prefix, names: tuple[str, ...]) -> NameTrie:
        """The trie of `names` behind this prompt. Raises UsageError when the longest does not fit behind it."""
        engine = self._engine
        tail = trailing_text(prefix.document)
        key = (tuple(text.text for text in tail), names)
        if key not in self._held:
            if len(self._held) >= _MAX_TRIES:
                self._held.clear()
            ids = [continuation_ids(engine, tail, name, include_end=True) for name in names]
            self._held[key] = NameTrie(names, ids)
        trie = self._held[key]
        if len(prefix) + trie.max_length > engine.max_length:
            raise UsageError(
                f"the prompt ({len(prefix)} tokens) and the longest name ({trie.max_length}) exceed the limit of "
                f"{engine.max_length} tokens; shorten one of them"
            )
        return trie
