"""Prefix: a prompt that the model has read, ready to be continued or scored as often as wanted."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.inference.generation import Decoding, EarlyStopping, Generation, Score

if TYPE_CHECKING:
    from kosmos.inference.engine import Engine


@dataclass(frozen=True)
class InputKey:
    """A non-text segment of an encoded prompt: where its slots are, and which content fills them."""

    start: int
    num_slots: int
    content: str


class Prefix:
    """A handle on one slot of the engine's pool; made by `Engine.prefill`, given back by `free` (or a `with` block).

    None of its methods changes it: a continuation is written behind the prompt and forgotten.
    """

    def __init__(
        self,
        engine: Engine,
        handle: int,
        document: Document,
        token_ids: tuple[int, ...],
        inputs: tuple[InputKey, ...],
        last_logits: Tensor,
    ) -> None:
        self._engine = engine
        self._handle = handle
        self._last_logits = last_logits  # fp32 [V]: what the model expects after the prompt
        self.document = document
        self.token_ids = token_ids
        self.inputs = inputs
        # A prefix that is dropped without free() gives its slot back too.
        self._release = weakref.finalize(self, engine.pool.drop, handle)
        self._release.atexit = False

    def __len__(self) -> int:
        """Tokens of the prompt, picture slots included."""
        return len(self.token_ids)

    def __repr__(self) -> str:
        return f"Prefix({self.document!r}, {len(self)} tokens{'' if self._release.alive else ', freed'})"

    def __enter__(self) -> Prefix:
        return self

    def __exit__(self, *exception: object) -> None:
        self.free()

    @property
    def engine(self) -> Engine:
        """Whose slot it is."""
        return self._engine

    @property
    def handle(self) -> int:
        """The pool's handle. Raises UsageError after `free`."""
        if not self._release.alive:
            raise UsageError("this prefix was freed; prefill its document again")
        return self._handle

    @property
    def is_held(self) -> bool:
        """Whether it has its slot still: false after `free`, and after `reread` with `take`."""
        return self._release.alive

    @property
    def last_logits(self) -> Tensor:
        """fp32 [V], the logits behind the last token of the prompt."""
        return self._last_logits

    def fork(self) -> Prefix:
        """An independent exact copy in a slot of its own."""
        engine = self._engine
        copied = engine.pool.copy(self.handle)
        return Prefix(engine, copied, self.document, self.token_ids, self.inputs, self._last_logits)

    def free(self) -> None:
        """Give the slot back; calling it twice is harmless."""
        if self._release.detach() is not None:
            self._engine.pool.release(self._handle)

    def give_up(self) -> None:
        """Part with the slot without giving it back: another prefix has it now."""
        self._release.detach()

    def reread(self, document: Document, take: bool = False) -> Prefix:
        """The prefix of another document; only what differs from this one's beginning is run.

        With `take` the new prefix has this one's slot, and this one is as after `free`.
        """
        return self._engine.reread(self, document, take)

    def greedy(self, max_new_tokens: int = 64, *, min_new_tokens: int = 0, stop: Sequence[str] = ()) -> Generation:
        """The most probable token each time."""
        decoding = Decoding(max_new_tokens, min_new_tokens, stop=tuple(stop))
        return self._engine.decode([self], [decoding])[0]

    def sample(
        self,
        max_new_tokens: int = 64,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        *,
        min_new_tokens: int = 0,
        stop: Sequence[str] = (),
        num_results: int = 1,
    ) -> Generation:
        """A drawn continuation; the same seed gives the same one. Further ones are its `others`."""
        decoding = Decoding(
            max_new_tokens, min_new_tokens, temperature, top_k, top_p, seed, tuple(stop), num_results=num_results
        )
        return self._engine.decode([self], [decoding])[0]

    def beam(
        self,
        num_beams: int = 5,
        max_new_tokens: int = 64,
        *,
        length_penalty: float = 1.0,
        early_stopping: EarlyStopping = False,
        min_new_tokens: int = 0,
        stop: Sequence[str] = (),
        num_results: int = 1,
    ) -> Generation:
        """The best continuation that beam search finds; the next best are its `others`."""
        decoding = Decoding(
            max_new_tokens,
            min_new_tokens,
            stop=tuple(stop),
            num_beams=num_beams,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
            num_results=num_results,
        )
        return self._engine.decode([self], [decoding])[0]

    def constrained(
        self, names: Sequence[str], num_beams: int = 2, *, length_penalty: float = 1.0, num_results: int = 1
    ) -> Generation:
        """The best of `names` (with the space before each, as in `score`) that beam search in their trie finds.

        The paper's way for ImageNet, two beams. As many beams as names find the best for sure; so does `score` with
        `include_end`, which is faster then.
        """
        decoding = Decoding(num_beams=num_beams, length_penalty=length_penalty, num_results=num_results)
        return self._engine.decode([self], [decoding], names)[0]

    def stream(self, max_new_tokens: int = 64, decoding: Decoding | None = None) -> Iterator[str]:
        """Text as it comes; the pieces joined are the `text` of the same generation. Greedy without `decoding`."""
        options = Decoding(max_new_tokens) if decoding is None else decoding
        return self._engine.stream(self, options)

    def score(self, candidates: Sequence[str], *, include_end: bool = False) -> list[Score]:
        """Log-probability of each candidate as the text that follows; `include_end` counts the closing `</s>`."""
        return self._engine.score_prefixes([self], [list(candidates)], include_end=include_end)[0]
