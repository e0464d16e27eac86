"""Batch: rows of token ids with the features that fill their slots.

Legend of shapes, used all over the project: B batch rows, T tokens in a row, D hidden size, N images (or segments of
another modality) in the batch, L slots (latents) of each, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor


@dataclass
class ModalityInputs:
    """`features` [N, ...] (uint8 pixels [N, 3, H, W] for images), and where their embeddings go:
    `slots` [N, L], indices into the rows laid end to end [B * T]."""

    features: Tensor
    slots: Tensor


@dataclass
class Batch:
    """One micro-batch.

    token_ids   int64 [B, T]
    supervised  bool [B, T]: True where this token is a target (it is predicted at the position before it)
    segment_ids int32 [B, T] or None: tokens see only earlier tokens of the same id, 0 is padding;
                None means one causal sequence per row without padding that matters
    inputs      per modality
    number      which micro-batch of its step it is, counted over all ranks
    """

    token_ids: Tensor
    supervised: Tensor
    segment_ids: Tensor | None = None
    inputs: dict[str, ModalityInputs] = field(default_factory=dict)
    source: str = ""
    number: int = 0

    def to(self, device: torch.device | str) -> Batch:
        return replace(
            self,
            token_ids=self.token_ids.to(device, non_blocking=True),
            supervised=self.supervised.to(device, non_blocking=True),
            segment_ids=None if self.segment_ids is None else self.segment_ids.to(device, non_blocking=True),
            inputs={
                name: ModalityInputs(i.features.to(device, non_blocking=True), i.slots.to(device, non_blocking=True))
                for name, i in self.inputs.items()
            },
        )

    @property
    def num_supervised(self) -> int:
        """Targets that the loss counts; a row's first token has no prediction."""
        return int(self.supervised[:, 1:].sum())


@dataclass(frozen=True)
class SlotInput:
    """One non-text segment of an encoded sequence: its features and the index of its first slot."""

    modality: str
    start: int
    num_slots: int
    features: np.ndarray


@dataclass(frozen=True)
class Sequence:
    """One encoded Document, or a packed row of several.

    token_ids int64 [T], supervised bool [T], segment_ids int32 [T] or None, inputs in order of appearance.
    """

    token_ids: np.ndarray
    supervised: np.ndarray
    inputs: tuple[SlotInput, ...] = ()
    segment_ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.token_ids)


def round_up(count: int) -> int:
    """`count` up to the next multiple of an eighth of its leading power of two: 170 -> 176, at most 1/8 more.

    On a CPU kernels are compiled for every new shape, so sizes that vary from batch to batch had better be few.
    """
    step = max(1, 1 << (count.bit_length() - 4)) if count > 8 else 1
    return -(-count // step) * step


def collate(rows: list[Sequence], pad_id: int, length: int | None = None, pad_left: bool = False) -> Batch:
    """Lay rows [T_i] into one Batch [B, T], T = `length` or the longest row, padded with `pad_id`.

    `segment_ids` is None only when no row needs it: no row has ids, and right padding (harmless under a causal mask).
    """
    width = max(len(row) for row in rows) if length is None else length
    count = len(rows)
    token_ids = np.full((count, width), pad_id, dtype=np.int64)
    supervised = np.zeros((count, width), dtype=bool)
    segment_ids = np.zeros((count, width), dtype=np.int32)
    with_ids = any(row.segment_ids is not None for row in rows) or (pad_left and any(len(r) < width for r in rows))
    features: dict[str, list[np.ndarray]] = {}
    slots: dict[str, list[np.ndarray]] = {}
    for index, row in enumerate(rows):
        offset = width - len(row) if pad_left else 0
        span = slice(offset, offset + len(row))
        token_ids[index, span] = row.token_ids
        supervised[index, span] = row.supervised
        segment_ids[index, span] = 1 if row.segment_ids is None else row.segment_ids
        for item in row.inputs:
            first = index * width + offset + item.start
            features.setdefault(item.modality, []).append(item.features)
            slots.setdefault(item.modality, []).append(np.arange(first, first + item.num_slots))
    return Batch(
        token_ids=torch.from_numpy(token_ids),
        supervised=torch.from_numpy(supervised),
        segment_ids=torch.from_numpy(segment_ids) if with_ids else None,
        inputs={
            name: ModalityInputs(torch.from_numpy(np.stack(arrays)), torch.from_numpy(np.stack(slots[name])))
            for name, arrays in features.items()
        },
    )
