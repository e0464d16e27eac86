"""What a generation is asked for and what comes out of it, and how tokens become text while they arrive."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kosmos.errors import UsageError, nearest

FinishReason = Literal["end", "length", "stop"]
EarlyStopping = bool | Literal["never"]

# SentencePiece writes this where bytes do not make a whole glyph yet.
_INCOMPLETE_GLYPH = "\ufffd"
# Beyond it length ** length_penalty leaves what a float can hold.
_LARGEST_PENALTY = 32
_KIND_NAMES = {int: "a whole number", float: "a number", tuple: "a list of strings", bool: 'true, false or "never"'}


@dataclass(frozen=True)
class Decoding:
    """How to continue a prompt.

    max_new_tokens  limit of generated tokens, `</s>` included
    min_new_tokens  `</s>` cannot come, nor stop strings act, before that many tokens
    temperature     0: greedy, the most probable token; else logits are divided by it and a token is drawn
    top_k           draw among the k most probable (0: all)
    top_p           draw among the fewest tokens whose probabilities, after top_k, sum to top_p
    seed            of this request alone: the draw does not depend on what else is in the batch
    stop            the text ends before the first of these strings
    num_beams       beams kept by beam search (1: none)
    length_penalty  finished beams are ranked by sum of log-probabilities / length ** length_penalty, `</s>` counted
    early_stopping  of beams. False: stop when the best open beam, at its present length, is worse than every finished
                    one; True: stop at `num_beams` finished ones; "never": only when no longer text could be better
    num_results     continuations wanted: the best beams, or so many draws
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    num_results: int = 1

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1")
        if not 0 <= self.min_new_tokens <= self.max_new_tokens:
            raise UsageError(
                f"min_new_tokens is {self.min_new_tokens}; it must lie between 0 and max_new_tokens "
                f"({self.max_new_tokens})"
            )
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"temperature is {self.temperature}; it must be 0 (greedy) or a positive number")
        if self.top_k < 0:
            raise UsageError(f"top_k is {self.top_k}; it must be 0 (no limit) or positive")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}; it must lie above 0 and be at most 1")
        if not -(1 << 63) <= self.seed < 1 << 64:
            raise UsageError(f"seed is {self.seed}; it must be a number of 64 bits")
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            raise UsageError("stop must be a list of strings that are not empty")
        self._check_beams()

    def _check_beams(self) -> None:
        if self.num_beams < 1:
            raise UsageError(f"num_beams is {self.num_beams}; it must be at least 1")
        if not abs(self.length_penalty) <= _LARGEST_PENALTY:
            raise UsageError(
                f"length_penalty is {self.length_penalty}; it must lie between -{_LARGEST_PENALTY} and "
                f"{_LARGEST_PENALTY}"
            )
        if self.early_stopping not in (True, False, "never"):
            raise UsageError(f"early_stopping is {self.early_stopping!r}; it must be true, false or never")
        if self.num_beams > 1 and self.temperature > 0:
            raise UsageError("beams and drawing exclude each other; leave out num_beams or temperature")
        if self.num_results < 1:
            raise UsageError(f"num_results is {self.num_results}; it must be at least 1")
        if self.num_results > 1 and self.temperature == 0 and self.num_results > self.num_beams:
            found = "greedy search finds one" if self.num_beams == 1 else f"{self.num_beams} beams find no more"
            raise UsageError(
                f"num_results is {self.num_results}, but {found}; raise num_beams, or draw with a temperature"
            )

    def of_draw(self, draw: int) -> Decoding:
        """The options of one of several draws; the first is drawn as if it were alone."""
        if draw == 0:
            return dataclasses.replace(self, num_results=1)
        digest = hashlib.blake2b(f"{self.seed}/{draw}".encode(), digest_size=8).digest()
        return dataclasses.replace(self, num_results=1, seed=int.from_bytes(digest) >> 1)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], defaults: Decoding | None = None) -> Decoding:
        """A Decoding from names and values, as of JSON or keywords. Raises UsageError for unknown names or types."""
        kinds: dict[str, type] = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name, value in fields.items():
            if name not in kinds:
                raise UsageError(f"unknown option '{name}'{nearest(name, kinds)}; there are: {', '.join(kinds)}")
            if kinds[name] is tuple and isinstance(value, str):
                value = (value,)
            elif kinds[name] is tuple and isinstance(value, list):
                value = tuple(value)
            elif kinds[name] is float and type(value) is int:
                value = float(value)
            if name == "early_stopping" and value == "never":
                values[name] = value
                continue
            if type(value) is not kinds[name]:
                raise UsageError(f"{name} is {value!r}; it must be {_KIND_NAMES[kinds[name]]}")
            values[name] = value
        return dataclasses.replace(defaults or cls(), **values)


@dataclass(frozen=True)
class Generation:
    """A continuation.

    text           what was generated, without special tokens and without the space before its first word
    token_ids      every generated token, a closing `</s>` included
    log_probs      natural log-probability of each token under the model (whole vocabulary, temperature 1)
    finish_reason  "end": `</s>` came; "length": the limit was reached; "stop": a stop string came
    score          sum of log_probs; of beams, divided by length ** length_penalty: what they are ranked by
    others         further results when more than one was asked for: beams best first, draws in order
    """

    text: str
    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finish_reason: FinishReason
    score: float = 0.0
    others: tuple[Generation, ...] = ()

    @property
    def all(self) -> tuple[Generation, ...]:
        """This one and the others, best first."""
        return (dataclasses.replace(self, others=()), *self.others)


@dataclass(frozen=True)
class Score:
    """Summed natural log-probability of a candidate's `num_tokens` tokens.

    `is_greedy`: each of them is the most probable one where it stands.
    """

    sum: float
    num_tokens: int
    is_greedy: bool = field(default=False, compare=False)

    @property
    def mean(self) -> float:
        """Log-probability per token; 0 for an empty candidate."""
        return self.sum / self.num_tokens if self.num_tokens else 0.0


class TextStream:
    """Turns tokens into text deltas whose concatenation is the decoded whole.

    A delta is held back while it may still change: half a glyph, trailing white space (decoding strips it at the
    end), or the beginning of a stop string.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = (), min_tokens: int = 0) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._min_tokens = min_tokens
        self._ids: list[int] = []
        self._settled = 0  # tokens whose text is final
        self._context = 0  # first token decoded along, so that spaces between words come out right
        self._text = ""
        self._pending = ""  # text after `_settled` that may still change
        self._emitted = 0
        self._early = 0  # characters that came before stop strings act
        self.stopped = False

    @property
    def text(self) -> str:
        """All text so far, cut before a stop string."""
        return self._text + self._pending

    def push(self, token: int) -> str:
        """Take one more token and return the text that is certain now (often empty)."""
        self._ids.append(token)
        before = self._decode(self._ids[self._context : self._settled])
        after = self._decode(self._ids[self._context :])
        if after.startswith(before):
            self._pending = after[len(before) :]
        else:  # the new token changed earlier text: start over from the whole
            self._text, self._pending = "", self._decode(self._ids)
            self._context = self._settled = 0
        if self._pending and not self._pending.endswith(_INCOMPLETE_GLYPH) and not self._pending[-1].isspace():
            self._text += self._pending
            self._pending = ""
            self._context, self._settled = max(self._settled - 1, 0), len(self._ids)
        if len(self._ids) < self._min_tokens:
            self._early = len(self.text)
        elif self._stop and self._cut():
            return self._emit(len(self._text))
        return self._emit(len(self._text) - self._held())

    def finish(self) -> str:
        """No more tokens: return what was held back."""
        if not self.stopped:
            self._text += self._pending
            self._pending = ""
        return self._emit(len(self._text))

    def _cut(self) -> bool:
        whole = self.text
        first = {stop: max(self._emitted, self._early - len(stop) + 1, 0) for stop in self._stop}
        found = [place for stop in self._stop if (place := whole.find(stop, first[stop])) >= 0]
        if not found:
            return False
        self._text, self._pending, self.stopped = whole[: min(found)], "", True
        return True

    def _held(self) -> int:
        """Characters at the end that may be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(self._text)), longest, -1):
                if self._text.endswith(stop[:size]):
                    longest = size
                    break
        return longest

    def _emit(self, end: int) -> str:
        delta = self._text[self._emitted : end]
        self._emitted = max(self._emitted, end)
        return delta
