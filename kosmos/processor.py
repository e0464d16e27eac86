"""Processor: a Document to one encoded row, and the files that must travel with the weights for that."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np

import kosmos.images  # noqa: F401  registers the modality `image`
from kosmos.batch import Sequence, SlotInput
from kosmos.config import ModelConfig
from kosmos.document import Document, End, Text
from kosmos.modality import get_modality
from kosmos.tokenizer import Tokenizer


class Processor:
    """Encodes Documents for one model: its tokenizer, its picture size, its slots per segment."""

    def __init__(self, tokenizer: Tokenizer, config: ModelConfig) -> None:
        self.tokenizer = tokenizer
        self.config = config

    def encode(self, document: Document, *, training: bool = False, start: bool = True, end: bool = True) -> Sequence:
        """One Sequence of a Document (paper 2.1, Table 21): token_ids [T], supervised [T], inputs in order.

        `<s>` if `start`; each non-text segment as its begin token, its slots and its end token; text as pieces;
        `</s>` for every End, and a closing one if `end`. Only the tokens of supervised Text, and `</s>` after it,
        are supervised: predicting `<image>`, a slot or `</image>` never counts in the loss.
        """
        tokenizer = self.tokenizer
        ids: list[int] = [tokenizer.bos_id] if start else []
        supervised: list[bool] = [False] if start else []
        inputs: list[SlotInput] = []
        closing = False
        for is_text, run in groupby(document, key=lambda segment: isinstance(segment, Text)):
            segments = list(run)
            if is_text:
                for span, flag in self._encode_texts([s for s in segments if isinstance(s, Text)]):
                    ids += span
                    supervised += [flag] * len(span)
                closing = segments[-1].supervised
                continue
            for segment in segments:
                if isinstance(segment, End):
                    ids.append(tokenizer.eos_id)
                    supervised.append(segment.supervised)
                    closing = segment.supervised
                    continue
                modality = get_modality(segment.modality)
                num_slots = modality.num_slots(self.config)
                features = modality.features(segment, self.config, training)
                ids.append(tokenizer.special_id(modality.begin))
                inputs.append(SlotInput(modality.name, len(ids), num_slots, features))
                ids += [tokenizer.slot_id] * num_slots
                ids.append(tokenizer.special_id(modality.end))
                supervised += [False] * (num_slots + 2)
                closing = False
        if end:
            ids.append(tokenizer.eos_id)
            supervised.append(closing)
        return Sequence(np.asarray(ids, dtype=np.int64), np.asarray(supervised, dtype=bool), tuple(inputs))

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
        """Write the tokenizer's files into `folder`."""
        self.tokenizer.save(folder)
