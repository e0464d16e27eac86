"""Processor: a Document to one encoded row, and the files that must travel with the weights for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

import kosmos.images  # noqa: F401  registers the modality `image`
from kosmos.batch import Sequence, SlotInput
from kosmos.chat_format import DEFAULT_FORMAT, get_format
from kosmos.config import ModelConfig
from kosmos.config_files import dump_yaml, load_config, read_yaml, save_config
from kosmos.document import Document, End, Segment, Text
from kosmos.errors import ConfigError, StorageError, UsageError
from kosmos.modality import Modality, get_modality
from kosmos.runs import CONFIG_FILE
from kosmos.storage import make_folder, write_atomic
from kosmos.tokenizer import Tokenizer

PROCESSOR_FILE = "processor.yaml"

# Makes a segment's features: (modality, segment, configuration, training) -> array.
FeatureMaker = Callable[[Modality, Segment, ModelConfig, bool], np.ndarray]

# The names of what this version does to text and pictures; a folder that names something else is refused.
FORMATS = {
    "format": "kosmos-processor-1",
    "newline": "line-token",
    "training_images": "short-side-centre-crop-bicubic",
    "evaluation_images": "square-bicubic",
}


class Processor:
    """Encodes Documents for one model: its tokenizer, its picture size, its slots per segment.

    `chat_format` names the form that `kosmos.chat_format` gives to turns. Raises ConfigError when the tokenizer has
    more entries than the model has embeddings.
    """

    def __init__(self, tokenizer: Tokenizer, config: ModelConfig, chat_format: str = DEFAULT_FORMAT) -> None:
        if tokenizer.vocab_size > config.decoder.vocab_size:
            raise ConfigError(
                f"decoder.vocab_size {config.decoder.vocab_size} is too small for the tokenizer's"
                f" {tokenizer.vocab_size} entries; set it to {tokenizer.vocab_size}"
            )
        get_format(chat_format)
        self.tokenizer = tokenizer
        self.config = config
        self.chat_format = chat_format

    def encode(
        self,
        document: Document,
        *,
        training: bool = False,
        start: bool = True,
        end: bool = True,
        features: FeatureMaker | None = None,
    ) -> Sequence:
        """One Sequence of a Document (paper 2.1, Table 21): token_ids [T], supervised [T], inputs in order.

        `<s>` if `start`; each non-text segment as its begin token, its slots and its end token; text as pieces;
        `</s>` for every End, and a closing one if `end` and the last segment is no End. Supervised are the tokens
        of supervised Text, `</s>` of a supervised End, and the closing `</s>` when the last Text or End is: to
        predict `<image>`, a slot or `</image>` never counts in the loss. `features` is asked instead of the modality,
        as by the Engine, which keeps them; nothing is kept here. Raises ImageError, or UsageError for a modality that
        the model does not take.
        """
        tokenizer = self.tokenizer
        ids: list[int] = [tokenizer.bos_id] if start else []
        supervised: list[bool] = [False] if start else []
        inputs: list[SlotInput] = []
        closing = False
        for is_text, run in groupby(document, key=lambda segment: isinstance(segment, Text)):
            if is_text:
                for span, closing in self._encode_texts([segment for segment in run if isinstance(segment, Text)]):
                    ids += span
                    supervised += [closing] * len(span)
                continue
            for segment in run:
                if isinstance(segment, End):
                    closing = segment.supervised
                    ids.append(tokenizer.eos_id)
                    supervised.append(closing)
                    continue
                modality = self._modality(segment)
                num_slots = modality.num_slots(self.config)
                make = modality.features if features is None else partial(features, modality)
                made = make(segment, self.config, training)
                ids.append(tokenizer.special_id(modality.begin))
                inputs.append(SlotInput(modality.name, len(ids), num_slots, made))
                ids += [tokenizer.slot_id] * num_slots
                ids.append(tokenizer.special_id(modality.end))
                supervised += [False] * (num_slots + 2)
        if end and not (len(document) and isinstance(document[-1], End)):
            ids.append(tokenizer.eos_id)
            supervised.append(closing)
        return Sequence(np.asarray(ids, dtype=np.int64), np.asarray(supervised, dtype=bool), tuple(inputs))

    def check_length(self, sequence: Sequence, new_tokens: int = 0) -> None:
        """Raise UsageError when `sequence` and `new_tokens` more do not fit into the model's positions."""
        limit = self.config.decoder.max_positions
        if len(sequence) + new_tokens > limit:
            more = f" and {new_tokens} new ones" if new_tokens else ""
            pictures = f" ({len(sequence.inputs)} image(s) among them)" if sequence.inputs else ""
            raise UsageError(
                f"{len(sequence)} tokens{pictures}{more} do not fit into the model's {limit} positions;"
                " shorten the input"
            )

    def _modality(self, segment: Segment) -> Modality:
        modality = get_modality(segment.modality)
        taken = (("image",) if self.config.vision is not None else ()) + self.config.extra_modalities
        if modality.name not in taken:
            raise UsageError(f"this model takes no '{modality.name}'; it takes {', '.join(('text', *taken))}")
        return modality

    def _encode_texts(self, texts: list[Text]) -> list[tuple[list[int], bool]]:
        """Adjoining Text segments, encoded as the one text they are, cut where supervision changes.

        The tokens before a cut never depend on the text after it (a prompt is encoded without its answer at
        inference): where the joined text would give others, the two sides are encoded apart.
        """
        runs = [("".join(t.text for t in run), flag) for flag, run in groupby(texts, key=lambda t: t.supervised)]
        spans: list[tuple[list[int], bool]] = []
        while runs:
            joined = self.tokenizer.encode("".join(text for text, _ in runs))
            taken, done = 0, 0
            prefix = ""
            for text, flag in runs:
                prefix += text
                ids = self.tokenizer.encode(prefix) if done + 1 < len(runs) else joined
                spans.append((ids[taken:], flag))
                taken, done = len(ids), done + 1
                if joined[:taken] != ids:
                    break
            runs = runs[done:]
        return spans

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids, special tokens left out."""
        return self.tokenizer.decode(ids)

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer's files, config.yaml and processor.yaml into `folder`."""
        folder = make_folder(folder)
        self.tokenizer.save(folder)
        save_config(self.config, folder / CONFIG_FILE)
        write_atomic(folder / PROCESSOR_FILE, dump_yaml({**FORMATS, "chat_format": self.chat_format}))

    @classmethod
    def load(cls, folder: str | Path) -> Processor:
        """Load what `save` wrote. Raises StorageError for forms that this version does not know."""
        folder = Path(folder)
        stored = read_yaml(folder / PROCESSOR_FILE)
        for key, name in FORMATS.items():
            if stored.get(key) != name:
                raise StorageError(f"{folder / PROCESSOR_FILE}: {key}: '{stored.get(key)}' is unknown to this version")
        config = load_config(folder / CONFIG_FILE, ModelConfig)
        return cls(Tokenizer.load(folder), config, str(stored.get("chat_format", DEFAULT_FORMAT)))
