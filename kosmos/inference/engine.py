"""The Engine: reads prompts into slots, runs steps over any of them, and turns the results into text.

Decoding equals the plain loop that runs the whole row again for every token; batches equal single requests. Both are
stated for fp32 and tested so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from kosmos.batch import Batch, ModalityInputs
from kosmos.batch import Sequence as Row
from kosmos.config import Precision
from kosmos.document import Document
from kosmos.errors import PromptTooLong, UsageError
from kosmos.inference.batching import TOKEN_BUDGET, in_batches
from kosmos.inference.cache import SlotPool, Step
from kosmos.inference.continuing import NameTries, decode, stream
from kosmos.inference.decode_step import PackedDecoder, step_dtype
from kosmos.inference.embedding_cache import EmbeddingCache
from kosmos.inference.embedding_store import DEFAULT_MAX_BYTES, EmbeddingStore
from kosmos.inference.feature_cache import FeatureCache
from kosmos.inference.generation import Decoding, Generation, Score
from kosmos.inference.prefix import InputKey, Prefix
from kosmos.inference.quantization import Quantization, check_quantization
from kosmos.inference.scoring import MOST_COLUMNS, score_prefixes
from kosmos.inference.sharing import Stretch, common_length, identities, stretches
from kosmos.inference.static_decode import StaticSteps
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor

# Text that is short enough to be read on the packed weights, where small operations cost less.
_PACKED_TOKENS = 1024


@dataclass(frozen=True)
class _Part:
    """Tokens start..end of an encoded prompt, to be run behind what the slot of `handle` holds."""

    handle: int
    row: Row
    keys: tuple[InputKey, ...]
    start: int
    end: int


class Engine:
    """Owns the key-value buffers of one model; nobody else touches a cache.

    max_slots   prompts held at once
    max_length  tokens of a prompt and its continuation (default: the model's max_positions)
    precision   "bf16" runs the matrix products in bfloat16; logits and log-probs stay fp32
    prefill_precision   the same for reading prompts alone (default: as `precision`)
    quantization   "int8": what follows the prompt runs on int8 weights
    static_decode   steps of fixed shape, on a GPU replayed as CUDA graphs (see kosmos.inference.static_decode)
    image_cache_bytes, image_cache_dir   how much of the pictures' embeddings stays in memory; a folder that keeps them
                longer (up to image_cache_dir_bytes), for other processes too. The model's weights are in their keys
    feature_cache_bytes   how much of the pictures' pixels stays, so that they are not decoded again
    pictures_per_call   encode exactly so many at a time, filled up: results do not depend on what the caches hold,
                to the bit (default: as many as are new)

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
        prefill_precision: Precision | None = None,
        quantization: Quantization | None = None,
        static_decode: bool = False,
        image_cache_bytes: int = 256 << 20,
        image_cache_dir: str | Path | None = None,
        image_cache_dir_bytes: int = DEFAULT_MAX_BYTES,
        feature_cache_bytes: int = 64 << 20,
        pictures_per_call: int | None = None,
    ) -> None:
        if max_slots < 1:
            raise UsageError(f"max_slots is {max_slots}; it must be at least 1")
        for name in (precision, prefill_precision or precision):
            if name not in ("fp32", "bf16"):
                raise UsageError(f"precision '{name}' is unknown; choose fp32 or bf16")
        check_quantization(quantization, next(model.parameters()).device)
        config = model.config.decoder
        self.max_length = config.max_positions if max_length is None else max_length
        if not 2 <= self.max_length <= config.max_positions:
            raise UsageError(f"max_length is {self.max_length}; this model takes 2 to {config.max_positions}")
        self.model = model.eval()
        self.processor = processor
        self.precision = precision
        self.prefill_precision = prefill_precision or precision
        self.quantization = quantization
        self.device = next(model.parameters()).device
        # Keys and values as decoding wants them, whatever the prompt was read in.
        self.pool = SlotPool(max_slots, step_dtype(model.decoder, precision))
        self.features = FeatureCache(feature_cache_bytes)
        store = None if image_cache_dir is None else EmbeddingStore(image_cache_dir, image_cache_dir_bytes)
        self.embeddings = EmbeddingCache(model, self.device, image_cache_bytes, store, pictures_per_call)
        self.num_halvings = 0  # batches that did not fit into memory
        self.static_decode = static_decode
        self._packed: PackedDecoder | None = None
        self._static: StaticSteps | None = None
        self.tries = NameTries(self)
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
            return self.prefill_rows([document], [self.encode(document)])[0]
        documents = list(document)
        rows = [self.encode(item) for item in documents]
        self.pool.check_room(len(rows))
        return self.prefill_rows(documents, rows)

    def encode(self, document: Document) -> Row:
        """A prompt as ids and features. Raises PromptTooLong when it leaves no room for an answer."""
        row = self.processor.encode(document.unsupervised(), end=False, features=self.features.features)
        if len(row) >= self.max_length:
            raise PromptTooLong(
                f"the prompt is {len(row)} tokens long (pictures included); the limit is {self.max_length}, and at "
                "least one must be left for the answer: shorten it, or use fewer pictures"
            )
        return row

    def prefill_rows(self, documents: Sequence[Document], rows: Sequence[Row]) -> list[Prefix]:
        """As `prefill`, for prompts encoded already; shared beginnings are read once."""
        if not rows:
            return []
        keys = [self._input_keys(row) for row in rows]
        handles = self.pool.acquire(len(rows))
        logits: dict[int, Tensor] = {}
        try:
            for parts in _passes(stretches(self.identities(rows))):
                leaders = [part.members[0] for part in parts]
                made = self._read(
                    [
                        _Part(handles[leader], rows[leader], keys[leader], part.start, part.end)
                        for leader, part in zip(leaders, parts)
                    ]
                )
                for part, last in zip(parts, made):
                    if len(part.members) == 1:
                        logits[part.members[0]] = last
                    else:
                        source, *others = [handles[member] for member in part.members]
                        self.pool.copy_columns(source, others)
        except BaseException:
            for handle in handles:
                self.pool.release(handle)
            raise
        return [
            Prefix(self, handle, document, tuple(row.token_ids.tolist()), inputs, logits[index])
            for index, (handle, document, row, inputs) in enumerate(zip(handles, documents, rows, keys))
        ]

    def _input_keys(self, row: Row) -> tuple[InputKey, ...]:
        return tuple(InputKey(item.start, item.num_slots, self.features.content_key(item)) for item in row.inputs)

    def identities(self, rows: Sequence[Row]) -> list[np.ndarray]:
        """Rows as ids that are equal where the model would see the same, pictures included."""
        contents: dict[str, int] = {}
        return [
            identities(row.token_ids, [(k.start, k.num_slots, k.content) for k in self._input_keys(row)], contents)
            for row in rows
        ]

    def reread(self, prefix: Prefix, document: Document, take: bool = False) -> Prefix:
        """See `Prefix.reread`."""
        self.check_own([prefix])
        row = self.encode(document)
        keys = self._input_keys(row)
        contents: dict[str, int] = {}
        held, wanted = (
            identities(np.asarray(ids), [(key.start, key.num_slots, key.content) for key in row_keys], contents)
            for ids, row_keys in ((prefix.token_ids, prefix.inputs), (row.token_ids, keys))
        )
        start = min(common_length(held, wanted), len(row) - 1)
        handle = prefix.handle if take else self.pool.copy(prefix.handle)
        if take:
            prefix.give_up()
        try:
            self.pool.set_length(handle, start)
            (logits,) = self._read([_Part(handle, row, keys, start, len(row))])
        except BaseException:
            self.pool.release(handle)
            raise
        return Prefix(self, handle, document, tuple(row.token_ids.tolist()), keys, logits)

    def _read(self, parts: Sequence[_Part]) -> list[Tensor]:
        """Run stretches of prompts behind what their slots hold; the logits [V] behind each one's last token."""
        handles = self.pool.arrange([part.handle for part in parts])
        by_handle = {part.handle: part for part in parts}
        ordered = [by_handle[handle] for handle in handles]  # rows follow the order of the slots
        starts = [part.start for part in ordered]
        lengths = [part.end - part.start for part in ordered]
        width = max(lengths)
        # Right padding: padded columns lie behind every real token, so causality hides them, and the continuation
        # overwrites them.
        token_ids = np.full((len(ordered), width), self.processor.tokenizer.pad_id, dtype=np.int64)
        for index, part in enumerate(ordered):
            token_ids[index, : lengths[index]] = part.row.token_ids[part.start : part.end]
        with self.reading():
            inputs, embedded = self._scatter(ordered, width)
            uniform = starts[0] if min(starts) == max(starts) else None
            step = self.pool.step(handles, width, torch.tensor(starts, device=self.device), uniform)
            hidden = self._forward(torch.from_numpy(token_ids).to(self.device), step, inputs, embedded)
            last = torch.tensor(lengths, device=self.device) - 1
            logits = self.model.head(hidden[torch.arange(len(ordered), device=self.device), last]).float()
        for part in ordered:
            self.pool.set_length(part.handle, part.end)
        made = dict(zip(handles, logits))
        return [made[part.handle] for part in parts]

    def _scatter(self, parts: Sequence[_Part], width: int) -> tuple[dict[str, ModalityInputs], dict[str, Tensor]]:
        """Where each embedding goes in the rows laid end to end, per modality: slots [N, L], embeddings [N, L, D]."""
        inside = [
            (index, item, key)
            for index, part in enumerate(parts)
            for item, key in zip(part.row.inputs, part.keys)
            if part.start <= item.start < part.end
        ]
        if not inside:
            return {}, {}
        found = self.embeddings.embed({key.content: item for _, item, key in inside})
        slots: dict[str, list[np.ndarray]] = {}
        values: dict[str, list[Tensor]] = {}
        for index, item, key in inside:
            first = index * width + item.start - parts[index].start
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
        in_fp32 = self.precision == self.prefill_precision == "fp32" and self.quantization is None
        if not inputs and in_fp32 and token_ids.numel() <= _PACKED_TOKENS:
            return self.packed(token_ids, step)
        batch = Batch(token_ids, torch.zeros_like(token_ids, dtype=torch.bool), None, inputs or {})
        hidden: Tensor = self.model(batch, step, embedded=embedded)
        return hidden

    def forward_step(self, token_ids: Tensor, step: Step) -> Tensor:
        """Hidden states [B, T, D] of text tokens [B, T] that continue the step's slots."""
        with torch.inference_mode():
            if not self.static_decode:
                return self.packed(token_ids, step)
            self._static = self._static or StaticSteps(self.packed)
            return self._static(token_ids, step)

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] of `forward_step` -> logits fp32 [..., V]."""
        with torch.inference_mode():
            return self.packed.head(hidden)

    @property
    def packed(self) -> PackedDecoder:
        """The decoder as steps behind a prompt run it; made from the weights at the first one."""
        if self._packed is None:
            self._packed = PackedDecoder(self.model.decoder, self.precision, self.quantization)
        return self._packed

    def reading(self) -> ExitStack:
        """No gradients, and for prompts, the model's own forward pass, autocast where asked; never around a `yield`."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if self.prefill_precision == "bf16":
            stack.enter_context(torch.autocast(self.device.type, dtype=torch.bfloat16))
        return stack

    # -- continuations ---------------------------------------------------------------------------------------------

    def greedy(self, prefixes: Sequence[Prefix], max_new_tokens: int = 64) -> list[Generation]:
        """Greedy continuations of several prompts together."""
        return self.decode(prefixes, [Decoding(max_new_tokens)] * len(prefixes))

    def decode(
        self, prefixes: Sequence[Prefix], options: Sequence[Decoding], names: Sequence[str] | None = None
    ) -> list[Generation]:
        """Continue several prompts together, each in its own way. The prefixes stay as they are.

        `names`: the answer is one of these (with the space before it, as in `score`), found by beam search in their
        trie; `max_new_tokens` is then as large as the longest needs, and stop strings do not act.
        """
        return decode(self, prefixes, options, names)

    def check_own(self, prefixes: Sequence[Prefix]) -> None:
        """Another engine's handle may be the number of a slot here, with another prompt in it."""
        if any(prefix.engine is not self for prefix in prefixes):
            raise UsageError("the prefix is another engine's; prefill its document with this one")

    def stream(self, prefix: Prefix, options: Decoding) -> Iterator[str]:
        """Text deltas of one continuation; see `Prefix.stream`."""
        if options.num_results > 1:
            raise UsageError(f"num_results is {options.num_results}, but only one text can be streamed")
        self.check_own([prefix])
        return stream(self, prefix, options)

    def generate(
        self,
        documents: Sequence[Document],
        max_new_tokens: int | None = None,
        *,
        options: Decoding | Sequence[Decoding] | None = None,
        names: Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> list[Generation]:
        """Continue any number of prompts, in ragged batches of similar length; results in the order given.

        `options`: one Decoding for all or one each (default: greedy); `max_new_tokens` is short for a greedy one.
        `names`: see `decode`. `batch_size`: at most so many prompts at a time (default: the free slots). A batch that
        does not fit into memory is halved.
        """
        documents = list(documents)
        if options is not None and max_new_tokens is not None:
            raise UsageError("give max_new_tokens inside options, or alone, not both")
        if options is None:
            options = Decoding() if max_new_tokens is None else Decoding(max_new_tokens)
        each = [options] * len(documents) if isinstance(options, Decoding) else list(options)
        if len(each) != len(documents):
            raise UsageError(f"{len(documents)} prompts, but {len(each)} options")

        # A beam writes a column a token; of names, as many as the longest has, which is less than this.
        columns = max((option.max_new_tokens * option.num_beams for option in each), default=0)

        def work(chosen: list[int], prefixes: list[Prefix]) -> list[Generation]:
            return self.decode(prefixes, [each[index] for index in chosen], names)

        return in_batches(self, documents, batch_size, columns, work)

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

        def work(chosen: list[int], prefixes: list[Prefix]) -> list[list[Score]]:
            return self.score_prefixes(prefixes, [each[index] for index in chosen], include_end=include_end)

        return in_batches(self, documents, batch_size, MOST_COLUMNS, work)

    def score_prefixes(
        self, prefixes: Sequence[Prefix], candidates: Sequence[Sequence[str]], *, include_end: bool = False
    ) -> list[list[Score]]:
        """As `score`, for prompts already read."""
        if len(prefixes) != len(candidates):
            raise UsageError(f"{len(prefixes)} prefixes, but {len(candidates)} lists of candidates")
        self.check_own(prefixes)
        with torch.inference_mode():
            return score_prefixes(self, prefixes, candidates, include_end)

    def clear(self) -> None:
        """Forget pictures, buffers and packed weights; needed after the weights changed. No prefix may be held."""
        self.pool.clear()
        self._packed = self._static = None
        self.embeddings.clear()

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


def _passes(found: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Stretches in passes: parents before children, of similar length, within the token budget (at least one each)."""
    for _, level in groupby(found, key=lambda stretch: stretch.depth):
        waiting = sorted(level, key=lambda stretch: stretch.start - stretch.end)
        while waiting:
            rows = max(1, TOKEN_BUDGET // (waiting[0].end - waiting[0].start))
            yield waiting[:rows]
            waiting = waiting[rows:]


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
