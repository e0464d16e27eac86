"""The plain way to do what the Engine does: whole rows, alone, without a cache, again for every token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kosmos.document import Document, Text
from kosmos.inference.generation import Decoding
from kosmos.inference.search import Chooser
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.inference.oracle import append, plain_logits

# Which tokens may follow those chosen so far; None: all that are not forbidden.
Allowed = Callable[[tuple[int, ...]], list[int] | None]


@dataclass(frozen=True)
class Path:
    """Tokens, the sum of their log-probabilities, and what beams are ranked by."""

    tokens: tuple[int, ...]
    sum: float
    score: float = 0.0


class Plain:
    """A model without an engine."""

    def __init__(self, model: Kosmos, processor: Processor, max_length: int) -> None:
        self.model = model
        self.processor = processor
        self.max_length = max_length
        tokenizer = processor.tokenizer
        names = ("<s>", "<pad>", "<unk>", "<mask>", "</doc>", "<image>", "</image>", "</chunk>")
        self._never = [tokenizer.special_id(name) for name in names]
        self._end_id = tokenizer.eos_id
        self._forbidden = torch.zeros(tokenizer.vocab_size, dtype=torch.bool)
        self._forbidden[self._never] = True

    def limit(self, document: Document, new_tokens: int) -> int:
        """Tokens that may be generated."""
        return min(new_tokens, self.max_length - len(self.processor.encode(document.unsupervised(), end=False)))

    def logits(self, document: Document, tokens: Sequence[int]) -> Tensor:
        """fp32 [V] behind a prompt and some tokens."""
        row = self.processor.encode(document.unsupervised(), end=False)
        return plain_logits(self.model, append(row, list(tokens)))[-1]

    def score(self, document: Document, candidate: str, include_end: bool) -> float:
        """The candidate as the supervised text of one whole row."""
        row = self.processor.encode(document.unsupervised() + Text(candidate, supervised=True), end=include_end)
        log_probs = plain_logits(self.model, row).log_softmax(-1)
        places = [place for place, counts in enumerate(row.supervised) if counts]
        return sum(float(log_probs[place - 1, row.token_ids[place]]) for place in places)

    def sum_of(self, document: Document, tokens: Sequence[int]) -> float:
        """Log-probability of tokens behind a prompt."""
        row = append(self.processor.encode(document.unsupervised(), end=False), list(tokens))
        log_probs = plain_logits(self.model, row).log_softmax(-1)
        first = len(row) - len(tokens)
        return sum(float(log_probs[first + place - 1, token]) for place, token in enumerate(tokens))

    def stop(self, option: Decoding, tokens: Sequence[int]) -> str | None:
        """The text before a stop string, where there is one."""
        if not option.stop or len(tokens) < option.min_new_tokens or tokens[-1] == self._end_id:
            return None
        text = self.processor.decode(tokens)
        # One that was complete before `min_new_tokens` does not act, then or later.
        before = len(self.processor.decode(tokens[: max(0, option.min_new_tokens - 1)]))
        found = [(place, place + len(stop)) for stop in option.stop for place in _occurrences(text, stop)]
        places = [start for start, end in found if end > before]
        return text[: min(places)] if places else None

    def continuation(self, document: Document, option: Decoding, draw: int = 0) -> tuple[list[int], str]:
        """Greedy or drawn tokens, and their text."""
        chooser = Chooser([option.of_draw(draw)], self._forbidden, self._end_id)
        tokens: list[int] = []
        for step in range(self.limit(document, option.max_new_tokens)):
            [token], _ = chooser.choose(self.logits(document, tokens)[None], [0], step)
            tokens.append(token)
            stopped = self.stop(option, tokens)
            if stopped is not None:
                return tokens, stopped
            if token == self._end_id:
                break
        return tokens, self.processor.decode(tokens)

    def beams(self, document: Document, option: Decoding, names: Sequence[str] | None = None) -> list[Path]:
        """Finished beams, best first: transformers' rules, a whole row for each beam and step."""
        allowed = self._any if names is None else self._names(document, names)
        size, limit = option.num_beams, self.limit(document, option.max_new_tokens)
        if names is not None:
            limit = max(len(self._name_ids(document, name)) for name in names)
        going, finished = [Path((), 0.0)], list[Path]()
        for length in range(1, limit + 1):
            candidates = [new for path in going for new in self._extensions(document, path, option, allowed, length)]
            candidates = sorted(candidates, key=lambda path: -path.sum)[: 2 * size]
            full, going = len(finished) == size, []
            for rank, path in enumerate(candidates):
                if path.tokens[-1] == self._end_id or length == limit or self.stop(option, path.tokens) is not None:
                    if rank < size and not (full and option.early_stopping is True):
                        finished.append(replace(path, score=path.sum / length**option.length_penalty))
                elif len(going) < size:
                    going.append(path)
            finished = sorted(finished, key=lambda path: -path.score)[:size]
            if not going or (len(finished) == size and self._nothing_better(option, going[0], finished, length, limit)):
                break
        return finished[: option.num_results]

    @staticmethod
    def _nothing_better(option: Decoding, best: Path, finished: list[Path], length: int, limit: int) -> bool:
        if option.early_stopping is True:
            return True
        at = limit if option.early_stopping == "never" and option.length_penalty > 0 else length
        return best.sum / at**option.length_penalty <= finished[-1].score

    def _extensions(
        self, document: Document, path: Path, option: Decoding, allowed: Allowed, length: int
    ) -> list[Path]:
        """A beam with each token that may follow (the likeliest of them)."""
        log_probs = self.logits(document, path.tokens).log_softmax(-1)
        never = list(self._never)
        if length <= option.min_new_tokens:
            never.append(self._end_id)
        only = allowed(path.tokens)
        if only is not None:  # a name may hold what is never generated freely, such as `<unk>`
            never = sorted(set(range(len(log_probs))) - set(only))
        log_probs[never] = -torch.inf
        values, tokens = log_probs.topk(min(2 * option.num_beams, len(log_probs)))
        found = zip(values.tolist(), tokens.tolist())
        return [Path((*path.tokens, token), path.sum + value) for value, token in found if value > -torch.inf]

    @staticmethod
    def _any(tokens: tuple[int, ...]) -> list[int] | None:
        return None

    def _names(self, document: Document, names: Sequence[str]) -> Allowed:
        ids = [self._name_ids(document, name) for name in names]

        def allowed(tokens: tuple[int, ...]) -> list[int]:
            size = len(tokens)
            return sorted({name[size] for name in ids if len(name) > size and name[:size] == tokens})

        return allowed

    def _name_ids(self, document: Document, name: str) -> tuple[int, ...]:
        row = self.processor.encode(document.unsupervised() + Text(name, supervised=True))
        return tuple(row.token_ids[row.supervised].tolist())


def _occurrences(text: str, part: str) -> list[int]:
    return [place for place in range(len(text)) if text.startswith(part, place)]
