"""What the engine thread is asked, and the events by which it reports; both cross between the two threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from kosmos.batch import Sequence as Row
from kosmos.document import Document
from kosmos.inference.generation import Decoding, Generation, Score
from kosmos.serving.refusals import Refusal

# Of English, about.
_CHARACTERS_A_TOKEN = 4

# decode: greedy or drawn; echo: nothing but the prompt's own log-probabilities.
Kind = Literal["decode", "beams", "score", "echo"]


@dataclass(frozen=True)
class TokenScore:
    """One token of an answer or of a prompt.

    log_prob  natural logarithm over the whole vocabulary; None for what nothing predicts: `<s>` and pictures
    start     characters of the text before it
    top       (token, log-prob) of the most probable ones, best first
    """

    token_id: int
    log_prob: float | None
    start: int
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Started:
    """The prompt has a slot and was read."""


@dataclass(frozen=True)
class PromptScored:
    """The tokens of an echoed prompt."""

    tokens: tuple[TokenScore, ...]


@dataclass(frozen=True)
class Piece:
    """Text of one answer that became certain, and the tokens that it is made of, where they are wanted.

    first  the answer's first token: whether it is a new word is not in the text
    """

    choice: int
    text: str
    first: int
    tokens: tuple[TokenScore, ...] = ()


@dataclass(frozen=True)
class Finished:
    """One answer is complete; `tokens` are all of its text's where they are wanted, but those sent in pieces."""

    choice: int
    generation: Generation
    tokens: tuple[TokenScore, ...] = ()


@dataclass(frozen=True)
class Scored:
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Complete:
    """Nothing more comes for this prompt."""


@dataclass(frozen=True)
class Failed:
    """No answer, or no more of it."""

    refusal: Refusal


Event = Started | PromptScored | Piece | Finished | Scored | Complete | Failed


@dataclass(eq=False)
class Ask:
    """One prompt and what is wanted of it.

    row        the prompt as ids, before it is submitted
    top        so many of the most probable tokens at each place; None: no log-probabilities at all
    echo       the prompt's own log-probabilities are wanted first
    stream     the text is wanted in pieces
    deadline   on the clock of time.monotonic
    listener   takes the events; called on the engine thread
    names      the answer is one of these, as they follow the prompt; of beams
    request    the same for all prompts of one request
    cancelled  set by whoever asked, when nobody waits for the answer any more
    """

    document: Document
    kind: Kind
    options: Decoding
    deadline: float
    listener: Callable[[Event], None]
    top: int | None = None
    echo: bool = False
    stream: bool = False
    candidates: Sequence[str] = ()
    include_end: bool = False
    names: tuple[str, ...] = ()
    cancelled: bool = False
    request: object = field(default_factory=object)
    arrived: float = field(default_factory=time.monotonic)
    row: Row = field(default_factory=lambda: Row(np.zeros(0, np.int64), np.zeros(0, bool)))

    @property
    def num_slots(self) -> int:
        """Slots of the engine that it needs: one for each draw."""
        return {"decode": self.options.num_results, "echo": 0}.get(self.kind, 1)

    @property
    def work(self) -> int:
        """About how much it asks of the engine: tokens read and generated, those of all draws and beams."""
        generated = self.options.max_new_tokens * max(self.options.num_results, self.options.num_beams)
        candidates = sum(len(text) for text in self.candidates) // _CHARACTERS_A_TOKEN
        return len(self.row) + {"score": candidates, "echo": 0}.get(self.kind, generated)

    def num_columns(self, candidate_columns: int) -> int:
        """Columns of keys and values that a slot of it may come to."""
        generated = self.options.max_new_tokens * self.options.num_beams
        return len(self.row) + {"score": candidate_columns, "echo": 0}.get(self.kind, generated)
