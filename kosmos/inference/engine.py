"""The Engine: reads prompts into slots, runs steps over any of them, and turns the results into text.

Decoding equals the plain loop that runs the whole row again for every token; batches equal single requests. Both are
stated for fp32 and tested so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import overload

import numpy as np
import torch
from torch import Tensor

from kosmos.batch import Batch, ModalityInputs
from kosmos.batch import Sequence as Row
from kosmos.config import Precision
from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.inference.cache import SlotPool, Step
from kosmos.inference.decode_loop import DecodeLoop
from kosmos.inference.embedding_cache import EmbeddingCache, content_key
from kosmos.inference.generation import Decoding, Generation, Score
from kosmos.inference.prefix import InputKey, Prefix
from kosmos.inference.scoring import score_prefixes
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor

# Padded tokens of one prefill: large enough to fill the cores, small enough for the memory of a laptop.
_TOKEN_BUDGET = 8192
# Documents encoded ahead and sorted by length together; bounds the memory of their pictures.
_WINDOW = 1024


class Engine:
    """Owns the key-value buffers of one model; nobody else touches a cache.

    max_slots   prompts held at once
    max_length  tokens of a prompt and its continuation (default: the model's max_positions)
    precision   "bf16" runs the matrix products in bfloat16 (autocast); weights, logits and log-probs stay fp32

    The model is put into evaluation mode. After its weights have changed, call `clear`.
    """

    def __init__(
        self,
        model: Kosmos,
        processor: Processor,
        *,
        max_slots: int = 64,
        max_length: int | None = None,
        precision: Precision = "fp32",
        image_cache_bytes: int = 256 << 20,
    ) -> None:
        if max_slots < 1:
            raise UsageError(f"max_slots is {max_slots}; it must be at least 1")
        if precision not in ("fp32", "bf16"):
            raise UsageError(f"precision '{precision}' is unknown; choose fp32 or bf16")
        config = model.config.decoder
        self.max_length = config.max_positions if max_length is None else max_length
        if not 2 <= self.max_length <= config.max_positions:
            raise UsageError(f"max_length is {self.max_length}; this model takes 2 to {config.max_positions}")
        self.model = model.eval()
        self.processor = processor
        self.precision = precision
        self.device = next(model.parameters()).device
        self.pool = SlotPool(max_slots)
        self.embeddings = EmbeddingCache(model, self.device, image_cache_bytes)
        self._forbidden = _forbidden(processor, config.vocab_size).to(self.device)

    # -- prompts ---------------------------------------------------------------------------------------------------

    @overload
    def prefill(self, document: Document) -> Prefix: ...
    @overload
    def prefill(self, document: Sequence[Document]) -> list[Prefix]: ...
    def prefill(self, document: Document | Sequence[Document]) -> Prefix | list[Prefix]:
        """Read one prompt or several, each once: `<s>`, text and pictures, no closing `</s>`.

        Raises UsageError when a prompt leaves no room for an answer, or the slots do not suffice.
        """
        if isinstance(document, Document):
            return self._prefill([document], [self.encode(document)])[0]
        documents = list(document)
        rows = [self.encode(item) for item in documents]
        prefixes: dict[int, Prefix] = {}
        self.pool.check_room(len(rows))
        for chosen in _packed([len(row) for row in rows], len(rows)):
            made = self._prefill([documents[index] for index in chosen], [rows[index] for index in chosen])
            prefixes.update(zip(chosen, made))
        return [prefixes[index] for index in range(len(rows))]

    def encode(self, document: Document) -> Row:
        """A prompt as ids and features. Raises UsageError when it leaves no room for an answer."""
        row = self.processor.encode(document.unsupervised(), start=True, end=False)
        if len(row) >= self.max_length:
            raise UsageError(
                f"the prompt is {len(row)} tokens long (pictures included); the limit is {self.max_length}, and at "
                "least one must be left for the answer: shorten it, or use fewer pictures"
            )
        return row

    def _prefill(self, documents: Sequence[Document], rows: Sequence[Row]) -> list[Prefix]:
        keys = [tuple(InputKey(item.start, item.num_slots, content_key(item)) for item in row.inputs) for row in rows]
        handles = self.pool.acquire(len(rows))
        try:
            # Rows follow the order of the slots; new handles have ascending slots, seldom with gaps.
            place = {handle: index for index, handle in enumerate(handles)}
            ordered = self.pool.arrange(handles)
            logits = self._read(ordered, [rows[place[h]] for h in ordered], [keys[place[h]] for h in ordered])
        except BaseException:
            for handle in handles:
                self.pool.release(handle)
            raise
        by_handle = dict(zip(ordered, logits))
        return [
            Prefix(self, handle, document, tuple(row.token_ids.tolist()), inputs, by_handle[handle])
            for handle, document, row, inputs in zip(handles, documents, rows, keys)
        ]

    def _read(self, handles: list[int], rows: list[Row], keys: list[tuple[InputKey, ...]]) -> Tensor:
        """Run whole prompts through the model into empty slots; the logits [B, V] behind each one's last token."""
        lengths = [len(row) for row in rows]
        width = max(lengths)
        # Right padding: padded columns lie behind every real token, so causality hides them, and the continuation
        # overwrites them.
        token_ids = np.full((len(rows), width), self.processor.tokenizer.pad_id, dtype=np.int64)
        for index, row in enumerate(rows):
            token_ids[index, : len(row)] = row.token_ids
        with self._running():
            contents = {key.content: item for row, ks in zip(rows, keys) for item, key in zip(row.inputs, ks)}
            found = self.embeddings.embed(contents) if contents else {}
            inputs, embedded = self._scatter(rows, keys, found, width)
            starts = torch.zeros(len(rows), dtype=torch.long, device=self.device)
            step = self.pool.step(handles, width, starts, 0)
            hidden = self._forward(torch.from_numpy(token_ids).to(self.device), step, inputs, embedded)
            last = torch.tensor(lengths, device=self.device) - 1
            logits = self.head(hidden[torch.arange(len(rows), device=self.device), last])
        for handle, length in zip(handles, lengths):
            self.pool.set_length(handle, length)
        return logits

    def _scatter(
        self, rows: list[Row], keys: list[tuple[InputKey, ...]], found: Mapping[str, Tensor], width: int
    ) -> tuple[dict[str, ModalityInputs], dict[str, Tensor]]:
        """Where each embedding goes in the rows laid end to end, per modality: slots [N, L], embeddings [N, L, D]."""
        slots: dict[str, list[np.ndarray]] = {}
        values: dict[str, list[Tensor]] = {}
        for index, (row, row_keys) in enumerate(zip(rows, keys)):
            for item, key in zip(row.inputs, row_keys):
                first = index * width + item.start
                slots.setdefault(item.modality, []).append(np.arange(first, first + item.num_slots))
                values.setdefault(item.modality, []).append(found[key.content])
        embedded = {name: torch.stack(tensors) for name, tensors in values.items()}
        inputs = {
            name: ModalityInputs(embedded[name], torch.from_numpy(np.stack(slots[name])).to(self.device))
            for name in embedded
        }
        return inputs, embedded

    # -- steps -----------------------------------------------------------------------------------------------------

    def _forward(
        self,
        token_ids: Tensor,
        step: Step,
        inputs: dict[str, ModalityInputs] | None = None,
        embedded: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        batch = Batch(token_ids, torch.zeros_like(token_ids, dtype=torch.bool), None, inputs or {})
        hidden: Tensor = self.model(batch, step, embedded=embedded)
        return hidden

    def forward_step(self, token_ids: Tensor, step: Step) -> Tensor:
        """Hidden states [B, T, D] of text tokens [B, T] that continue the step's slots."""
        with self._running():
            return self._forward(token_ids, step)

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] -> logits fp32 [..., V]."""
        with self._running():
            return self.model.head(hidden).float()

    def _running(self) -> ExitStack:
        """No gradients, and autocast where asked. Entered around computations, never around a `yield`."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if self.precision == "bf16":
            stack.enter_context(torch.autocast(self.device.type, dtype=torch.bfloat16))
        return stack

    # -- continuations ---------------------------------------------------------------------------------------------

    def greedy(self, prefixes: Sequence[Prefix], max_new_tokens: int = 64) -> list[Generation]:
        """Greedy continuations of several prompts together."""
        return self.decode(prefixes, [Decoding(max_new_tokens)] * len(prefixes))

    def decode(self, prefixes: Sequence[Prefix], options: Sequence[Decoding]) -> list[Generation]:
        """Continue several prompts together, each in its own way. The prefixes stay as they are."""
        if len(prefixes) != len(options):
            raise UsageError(f"{len(prefixes)} prefixes, but {len(options)} decodings")
        if not prefixes:
            return []
        handles = [prefix.handle for prefix in prefixes]
        if len(set(handles)) < len(handles):
            raise UsageError("the same prefix is there twice; fork() it to continue it in two ways at once")
        loop = DecodeLoop(self, prefixes, options)
        with self._running():  # one autocast region: weights are cast once, not once per token
            while loop.active:
                loop.advance()
        return [loop.result(row) for row in range(len(prefixes))]

    def stream(self, prefix: Prefix, options: Decoding) -> Iterator[str]:
        """Text deltas of one continuation; see `Prefix.stream`."""
        # A fork, because the caller may use the prefix between two deltas.
        with prefix.fork() as own:
            loop = DecodeLoop(self, [own], [options], stream=True)
            while loop.active:
                loop.advance()
                delta = loop.take_delta()
                if delta:
                    yield delta

    def generate(
        self,
        documents: Sequence[Document],
        max_new_tokens: int | None = None,
        *,
        options: Decoding | Sequence[Decoding] | None = None,
        batch_size: int | None = None,
    ) -> list[Generation]:
        """Continue any number of prompts, in ragged batches of similar length; results in the order given.

        `options`: one Decoding for all or one each (default: greedy); `max_new_tokens` is short for a greedy one.
        `batch_size`: at most so many rows at a time (default: the free slots).
        """
        documents = list(documents)
        if options is not None and max_new_tokens is not None:
            raise UsageError("give max_new_tokens inside options, or alone, not both")
        if options is None:
            options = Decoding() if max_new_tokens is None else Decoding(max_new_tokens)
        each = [options] * len(documents) if isinstance(options, Decoding) else list(options)
        if len(each) != len(documents):
            raise UsageError(f"{len(documents)} prompts, but {len(each)} options")
        results: dict[int, Generation] = {}
        for chosen, prefixes in self._batches(documents, batch_size):
            made = self.decode(prefixes, [each[index] for index in chosen])
            results.update(zip(chosen, made))
        return [results[index] for index in range(len(documents))]

    def score(
        self,
        documents: Sequence[Document],
        candidates: Sequence[str] | Sequence[Sequence[str]],
        *,
        batch_size: int | None = None,
        include_end: bool = False,
    ) -> list[list[Score]]:
        """Log-probabilities of candidates as the text that follows each prompt.

        `candidates`: the same list for all prompts, or one list each. A prompt is read once for all its candidates.
        """
        documents = list(documents)
        each = _per_document(candidates, len(documents))
        results: dict[int, list[Score]] = {}
        for chosen, prefixes in self._batches(documents, batch_size):
            scores = self.score_prefixes(prefixes, [each[index] for index in chosen], include_end=include_end)
            results.update(zip(chosen, scores))
        return [results[index] for index in range(len(documents))]

    def score_prefixes(
        self, prefixes: Sequence[Prefix], candidates: Sequence[Sequence[str]], *, include_end: bool = False
    ) -> list[list[Score]]:
        """As `score`, for prompts already read."""
        if len(prefixes) != len(candidates):
            raise UsageError(f"{len(prefixes)} prefixes, but {len(candidates)} lists of candidates")
        with self._running():
            return score_prefixes(self, prefixes, candidates, include_end)

    def clear(self) -> None:
        """Forget pictures and buffers; needed after the model's weights changed. No prefix may be held."""
        self.pool.clear()
        self.embeddings.clear()

    def _batches(
        self, documents: Sequence[Document], batch_size: int | None
    ) -> Iterator[tuple[list[int], list[Prefix]]]:
        """Indices and prefixes of one batch after another; the prefixes are freed when the next is asked for."""
        limit = self.pool.num_free if batch_size is None else min(batch_size, self.pool.num_free)
        if limit < 1:
            reason = "it must be at least 1" if batch_size is not None and batch_size < 1 else "all slots are in use"
            raise UsageError(f"no room for a batch: batch_size is {batch_size}: {reason}")
        for first in range(0, len(documents), _WINDOW):
            window = documents[first : first + _WINDOW]
            rows = [self.encode(document) for document in window]
            for chosen in _packed([len(row) for row in rows], limit):
                prefixes = self._prefill([window[index] for index in chosen], [rows[index] for index in chosen])
                try:
                    yield [first + index for index in chosen], prefixes
                finally:
                    for prefix in prefixes:
                        prefix.free()

    @property
    def forbidden(self) -> Tensor:
        """bool [V]: ids that are never generated (every special token but `</s>` and `</line>`)."""
        return self._forbidden


def _forbidden(processor: Processor, vocab_size: int) -> Tensor:
    tokenizer = processor.tokenizer
    forbidden = torch.zeros(vocab_size, dtype=torch.bool)
    forbidden[: tokenizer.unk_id + 1] = True  # `<s> <pad> </s> <unk>` come first, the other special tokens last
    forbidden[tokenizer.slot_id :] = True
    forbidden[[tokenizer.eos_id, tokenizer.line_id]] = False
    return forbidden


def _packed(lengths: Sequence[int], max_rows: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first, within the token budget (at least one row each)."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    first = 0
    while first < len(order):
        rows = max(1, min(max_rows, _TOKEN_BUDGET // lengths[order[first]]))
        yield order[first : first + rows]
        first += rows


def _per_document(candidates: Sequence[str] | Sequence[Sequence[str]], count: int) -> list[list[str]]:
    if isinstance(candidates, str):
        raise UsageError("candidates must be a list of strings, not one string")
    shared = [item for item in candidates if isinstance(item, str)]
    if len(shared) == len(candidates):
        return [shared] * count
    each = [list(item) for item in candidates if not isinstance(item, str)]
    if len(each) != len(candidates) or len(each) != count:
        raise UsageError(f"{len(candidates)} lists of candidates for {count} prompts; give one list each")
    return each
